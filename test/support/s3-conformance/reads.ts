import { GetObjectCommand, HeadObjectCommand } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { type Check, type CheckContext, expectError } from './context.ts';

const DIGITS = '0123456789';

function range(name: string, header: string, expected: string, contentRange: string): Check {
  return {
    name: `range ${name}`,
    run: async (s3) => {
      await s3.put('digits', DIGITS);
      const got = await s3.client.send(
        new GetObjectCommand({ Bucket: s3.bucket, Key: 'digits', Range: header }),
      );
      expect(await got.Body!.transformToString()).toBe(expected);
      expect(got).toMatchObject({ ContentRange: contentRange, ContentLength: expected.length });
      expect(got.$metadata.httpStatusCode).toBe(206);
    },
  };
}

function get(s3: CheckContext, more: Partial<ConstructorParameters<typeof GetObjectCommand>[0]>) {
  return s3.client.send(new GetObjectCommand({ Bucket: s3.bucket, Key: 'object', ...more }));
}

const HOUR_MS = 3_600_000;
const anHourAgo = () => new Date(Date.now() - HOUR_MS);
/** Not in the future: S3 ignores such an If-Modified-Since. */
const now = () => new Date();

export const readChecks: readonly Check[] = [
  range('first-last', 'bytes=2-5', '2345', 'bytes 2-5/10'),
  range('of one byte', 'bytes=0-0', '0', 'bytes 0-0/10'),
  range('from a byte on', 'bytes=7-', '789', 'bytes 7-9/10'),
  range('of the last bytes', 'bytes=-3', '789', 'bytes 7-9/10'),
  range('of more last bytes than there are', 'bytes=-50', DIGITS, 'bytes 0-9/10'),
  range('past the end is clipped', 'bytes=8-1000', '89', 'bytes 8-9/10'),
  {
    name: 'range behind the end is 416',
    run: async (s3) => {
      await s3.put('digits', DIGITS);
      await expectError(s3.text('digits', 'bytes=10-'), 416, 'InvalidRange');
    },
  },
  {
    name: 'range of an empty object is 416',
    run: async (s3) => {
      await s3.put('empty', '');
      await expectError(s3.text('empty', 'bytes=0-3'), 416, 'InvalidRange');
    },
  },
  {
    name: 'HEAD with a range tells its length',
    run: async (s3) => {
      await s3.put('digits', DIGITS);
      const head = await s3.client.send(
        new HeadObjectCommand({ Bucket: s3.bucket, Key: 'digits', Range: 'bytes=2-5' }),
      );
      expect(head).toMatchObject({ ContentLength: 4 });
    },
  },
  {
    name: 'GET If-Match of another ETag is 412',
    run: async (s3) => {
      await s3.put('object');
      await expectError(get(s3, { IfMatch: `"${'0'.repeat(32)}"` }), 412, 'PreconditionFailed');
    },
  },
  {
    name: 'GET If-Match of the ETag is answered',
    run: async (s3) => {
      const { ETag } = await s3.put('object');
      await get(s3, { IfMatch: ETag });
    },
  },
  {
    name: 'GET If-None-Match of the ETag is 304',
    run: async (s3) => {
      const { ETag } = await s3.put('object');
      await expectError(get(s3, { IfNoneMatch: ETag }), 304);
    },
  },
  {
    name: 'GET If-None-Match of another ETag is answered',
    run: async (s3) => {
      await s3.put('object');
      await get(s3, { IfNoneMatch: `"${'0'.repeat(32)}"` });
    },
  },
  {
    name: 'GET If-Modified-Since after the change is 304, before it is answered',
    run: async (s3) => {
      await s3.put('object');
      await expectError(get(s3, { IfModifiedSince: now() }), 304);
      await get(s3, { IfModifiedSince: anHourAgo() });
    },
  },
  {
    name: 'GET If-Unmodified-Since before the change is 412',
    run: async (s3) => {
      await s3.put('object');
      await expectError(get(s3, { IfUnmodifiedSince: anHourAgo() }), 412, 'PreconditionFailed');
    },
  },
  {
    name: 'HEAD If-Match of another ETag is 412',
    run: async (s3) => {
      await s3.put('object');
      const IfMatch = `"${'0'.repeat(32)}"`;
      await expectError(
        s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: 'object', IfMatch })),
        412,
      );
    },
  },
];
