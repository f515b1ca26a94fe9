import { ListBucketsCommand } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { type Check, type CheckContext, sdkClient } from './context.ts';
import { RawClient, type S3Target } from './raw-client.ts';

const MINUTE_MS = 60_000;

async function sendAs(s3: CheckContext, change: Partial<S3Target>) {
  using raw = new RawClient({ ...s3.raw.target, ...change });
  return await raw.send({ method: 'GET', path: `/${s3.bucket}/object` });
}

export const authenticationChecks: readonly Check[] = [
  {
    name: 'a wrong secret is SignatureDoesNotMatch',
    run: async (s3) => {
      const response = await sendAs(s3, { secretAccessKey: 'wrong' });
      expect(response).toMatchObject({ status: 403, code: 'SignatureDoesNotMatch' });
    },
  },
  {
    name: 'an unknown access key is InvalidAccessKeyId',
    run: async (s3) => {
      const response = await sendAs(s3, { accessKeyId: 'nobody' });
      expect(response).toMatchObject({ status: 403, code: 'InvalidAccessKeyId' });
    },
  },
  {
    name: 'an anonymous request is AccessDenied',
    run: async (s3) => {
      await s3.put('object');
      const response = await s3.raw.send({ method: 'GET', path: `/${s3.bucket}/object`, anonymous: true });
      expect(response).toMatchObject({ status: 403, code: 'AccessDenied' });
    },
  },
  {
    name: 'a header changed after signing is SignatureDoesNotMatch',
    run: async (s3) => {
      const response = await s3.raw.send({
        method: 'PUT',
        path: `/${s3.bucket}/object`,
        headers: { 'x-amz-meta-a': 'signed' },
        body: 'x',
        tamper: (headers) => {
          headers['x-amz-meta-a'] = 'changed';
        },
      });
      expect(response).toMatchObject({ status: 403, code: 'SignatureDoesNotMatch' });
    },
  },
  {
    name: 'a request signed 20 minutes ago is RequestTimeTooSkewed',
    run: async (s3) => {
      const signedAt = Date.now() - 20 * MINUTE_MS;
      const response = await s3.raw.send({ method: 'GET', path: `/${s3.bucket}/object`, signedAt });
      expect(response).toMatchObject({ status: 403, code: 'RequestTimeTooSkewed' });
    },
  },
  {
    name: 'a presigned GET is answered',
    run: async (s3) => {
      await s3.put('pre signed/ü', 'content');
      const response = await fetch(s3.raw.presign('GET', `/${s3.bucket}/pre%20signed/%C3%BC`));
      expect([response.status, await response.text()]).toEqual([200, 'content']);
    },
  },
  {
    name: 'a presigned PUT stores its body',
    run: async (s3) => {
      const url = s3.raw.presign('PUT', `/${s3.bucket}/object`);
      const response = await fetch(url, { method: 'PUT', body: new Uint8Array([1, 2, 3]) });
      await response.arrayBuffer();
      expect(response.status).toBe(200);
      expect([...(await s3.bytes('object'))]).toEqual([1, 2, 3]);
    },
  },
  {
    name: 'a presigned URL used for another key is SignatureDoesNotMatch',
    run: async (s3) => {
      await s3.put('secret');
      const url = s3.raw.presign('GET', `/${s3.bucket}/object`).replace('/object?', '/secret?');
      const response = await fetch(url);
      expect([response.status, /<Code>(\w+)</.exec(await response.text())?.[1]]).toEqual([
        403,
        'SignatureDoesNotMatch',
      ]);
    },
  },
  {
    name: 'an expired presigned URL is AccessDenied',
    run: async (s3) => {
      await s3.put('object');
      const signedAt = Date.now() - 2 * MINUTE_MS;
      const response = await fetch(s3.raw.presign('GET', `/${s3.bucket}/object`, { signedAt, expires: 60 }));
      expect([response.status, /<Code>(\w+)</.exec(await response.text())?.[1]]).toEqual([
        403,
        'AccessDenied',
      ]);
    },
  },
  {
    name: 'the SDK with a wrong secret is refused',
    run: async (s3) => {
      const client = sdkClient({ ...s3.raw.target, secretAccessKey: 'wrong' });
      try {
        await expect(client.send(new ListBucketsCommand({}))).rejects.toMatchObject({
          name: 'SignatureDoesNotMatch',
        });
      } finally {
        client.destroy();
      }
    },
  },
];
