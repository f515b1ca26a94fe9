import { CopyObjectCommand, DeleteObjectCommand } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { type Check, type CheckContext, expectError, expectOneWinner, statuses } from './context.ts';
import { startUpload } from './multipart.ts';

const OTHER_ETAG = `"${'0'.repeat(32)}"`;
const RACERS = 16;

function remove(s3: CheckContext, key: string, IfMatch?: string) {
  return s3.client.send(new DeleteObjectCommand({ Bucket: s3.bucket, Key: key, IfMatch }));
}

const racers = <T>(start: (i: number) => Promise<T>): Promise<T>[] =>
  Array.from({ length: RACERS }, (_, i) => start(i));

export const conditionalWriteChecks: readonly Check[] = [
  {
    name: 'PUT If-None-Match:* creates a new key',
    run: async (s3) => {
      await s3.put('object', 'first', { IfNoneMatch: '*' });
      expect(await s3.text('object')).toBe('first');
    },
  },
  {
    name: 'PUT If-None-Match:* on an existing key is 412 and changes nothing',
    run: async (s3) => {
      await s3.put('object', 'first');
      await expectError(s3.put('object', 'second', { IfNoneMatch: '*' }), 412, 'PreconditionFailed');
      expect(await s3.text('object')).toBe('first');
    },
  },
  {
    name: 'PUT If-None-Match:* creates a key again after its deletion',
    run: async (s3) => {
      await s3.put('object');
      await remove(s3, 'object');
      await s3.put('object', 'second', { IfNoneMatch: '*' });
    },
  },
  {
    name: 'of 16 racing PUT If-None-Match:* exactly one wins, and its content stays',
    run: async (s3) => {
      for (let round = 0; round < 4; round++) {
        const outcomes = racers((i) =>
          s3.put(`race-${round}`, `racer ${i}`, { IfNoneMatch: '*' }).then(() => i),
        );
        expectOneWinner(await statuses(outcomes));
        expect(await s3.text(`race-${round}`)).toBe(`racer ${await Promise.any(outcomes)}`);
      }
    },
  },
  {
    name: 'PUT If-Match of the ETag overwrites',
    run: async (s3) => {
      const { ETag } = await s3.put('object', 'first');
      await s3.put('object', 'second', { IfMatch: ETag });
      expect(await s3.text('object')).toBe('second');
    },
  },
  {
    name: 'PUT If-Match of a stale ETag is 412 and changes nothing',
    run: async (s3) => {
      await s3.put('object', 'first');
      await expectError(s3.put('object', 'second', { IfMatch: OTHER_ETAG }), 412, 'PreconditionFailed');
      expect(await s3.text('object')).toBe('first');
    },
  },
  {
    name: 'PUT If-Match of a missing key is 404 or 412',
    run: async (s3) => {
      const [status] = await statuses([s3.put('missing', 'x', { IfMatch: OTHER_ETAG })]);
      expect([404, 412]).toContain(status);
    },
  },
  {
    name: 'of 16 racing PUT If-Match exactly one wins, and its content stays',
    run: async (s3) => {
      for (let round = 0; round < 4; round++) {
        const { ETag } = await s3.put(`race-${round}`, 'before');
        const outcomes = racers((i) =>
          s3.put(`race-${round}`, `racer ${i}`, { IfMatch: ETag }).then(() => i),
        );
        expectOneWinner(await statuses(outcomes));
        expect(await s3.text(`race-${round}`)).toBe(`racer ${await Promise.any(outcomes)}`);
      }
    },
  },
  {
    name: 'DELETE If-Match of the ETag deletes',
    run: async (s3) => {
      const { ETag } = await s3.put('object');
      await remove(s3, 'object', ETag);
      expect(await s3.keys()).toEqual([]);
    },
  },
  {
    name: 'DELETE If-Match of a stale ETag is 412 and deletes nothing',
    run: async (s3) => {
      await s3.put('object');
      await expectError(remove(s3, 'object', OTHER_ETAG), 412, 'PreconditionFailed');
      expect(await s3.keys()).toEqual(['object']);
    },
  },
  {
    name: 'of racing DELETE If-Match and PUT If-Match exactly one wins',
    run: async (s3) => {
      for (let round = 0; round < 4; round++) {
        const key = `race-${round}`;
        const { ETag } = await s3.put(key, 'before');
        const puts = racers((i) => s3.put(key, `racer ${i}`, { IfMatch: ETag }));
        const outcomes = await statuses([...puts, remove(s3, key, ETag)]);
        expect(outcomes.filter((status) => status === 200)).toHaveLength(1);
      }
    },
  },
  {
    name: 'completing an upload with If-None-Match:* on an existing key is 412',
    run: async (s3) => {
      await s3.put('object', 'first');
      const upload = await startUpload(s3, 'object', ['second']);
      await expectError(upload.complete({ IfNoneMatch: '*' }), 412, 'PreconditionFailed');
      expect(await s3.text('object')).toBe('first');
      await upload.abort();
    },
  },
  {
    name: 'completing an upload with If-Match of the ETag overwrites',
    run: async (s3) => {
      const { ETag } = await s3.put('object', 'first');
      const upload = await startUpload(s3, 'object', ['second']);
      await upload.complete({ IfMatch: ETag });
      expect(await s3.text('object')).toBe('second');
    },
  },
  {
    name: 'a copy from a source that does not match is 412',
    run: async (s3) => {
      await s3.put('source');
      const copy = new CopyObjectCommand({
        Bucket: s3.bucket,
        Key: 'copy',
        CopySource: `${s3.bucket}/source`,
        CopySourceIfMatch: OTHER_ETAG,
      });
      await expectError(s3.client.send(copy), 412, 'PreconditionFailed');
    },
  },
];
