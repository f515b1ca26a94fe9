import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import {
  type ChecksumAlgorithm,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  type PutObjectCommandInput,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { type Check, expectError, pattern } from './context.ts';
import { signedChunks, unsignedChunks } from './raw-client.ts';

const ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const satisfies ChecksumAlgorithm[];

/** Checksums of `123456789`: the check values that the algorithms' specifications give. */
const CHECK_VALUES: Readonly<Record<(typeof ALGORITHMS)[number], string>> = {
  CRC32: Buffer.from('cbf43926', 'hex').toString('base64'),
  CRC32C: Buffer.from('e3069283', 'hex').toString('base64'),
  CRC64NVME: Buffer.from('ae8b14860a799888', 'hex').toString('base64'),
  SHA1: createHash('sha1').update('123456789').digest('base64'),
  SHA256: createHash('sha256').update('123456789').digest('base64'),
};

const crc32Base64 = (data: Buffer): string => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(crc32(data));
  return out.toString('base64');
};

const CHUNKS = [pattern(65536, 1), pattern(65536, 2), pattern(777, 3)];
const WHOLE = Buffer.concat(CHUNKS);

export const integrityChecks: readonly Check[] = [
  ...ALGORITHMS.map(
    (algorithm): Check => ({
      name: `${algorithm} in a header is verified and returned`,
      run: async (s3) => {
        const field = `Checksum${algorithm}` as const;
        const put = await s3.put('object', '123456789', {
          ChecksumAlgorithm: algorithm,
          [field]: CHECK_VALUES[algorithm],
        });
        expect(put[field]).toBe(CHECK_VALUES[algorithm]);
        const got = await s3.client.send(
          new GetObjectCommand({ Bucket: s3.bucket, Key: 'object', ChecksumMode: 'ENABLED' }),
        );
        expect(got).toMatchObject({ [field]: CHECK_VALUES[algorithm], ChecksumType: 'FULL_OBJECT' });
        expect(await got.Body!.transformToString()).toBe('123456789');
      },
    }),
  ),
  ...ALGORITHMS.map(
    (algorithm): Check => ({
      name: `a wrong ${algorithm} in a header is BadDigest and stores nothing`,
      run: async (s3) => {
        const wrong: Partial<PutObjectCommandInput> = { [`Checksum${algorithm}`]: CHECK_VALUES[algorithm] };
        const call = s3.put('object', '12345678X', { ChecksumAlgorithm: algorithm, ...wrong });
        await expectError(call, 400, 'BadDigest');
        expect(await s3.keys()).toEqual([]);
      },
    }),
  ),
  ...ALGORITHMS.map(
    (algorithm): Check => ({
      name: `a stream with ${algorithm} in its trailer is decoded`,
      run: async (s3) => {
        await s3.put('object', Readable.from(CHUNKS), {
          ContentLength: WHOLE.length,
          ChecksumAlgorithm: algorithm,
        });
        expect((await s3.bytes('object')).equals(WHOLE)).toBe(true);
      },
    }),
  ),
  {
    name: 'a checksum that is not base64 of the right length is InvalidRequest',
    run: async (s3) => {
      const response = await s3.raw.send({
        method: 'PUT',
        path: `/${s3.bucket}/object`,
        headers: { 'x-amz-checksum-crc32': 'AAAA', 'x-amz-sdk-checksum-algorithm': 'CRC32' },
        body: 'x',
      });
      expect(response).toMatchObject({ status: 400, code: 'InvalidRequest' });
    },
  },
  {
    name: 'a wrong checksum is BadDigest without x-amz-sdk-checksum-algorithm too',
    run: async (s3) => {
      const response = await s3.raw.send({
        method: 'PUT',
        path: `/${s3.bucket}/object`,
        headers: { 'x-amz-checksum-crc32': CHECK_VALUES.CRC32 },
        body: 'other',
      });
      expect(response).toMatchObject({ status: 400, code: 'BadDigest' });
      expect(await s3.keys()).toEqual([]);
    },
  },
  {
    name: 'a wrong checksum in a trailer is BadDigest',
    run: async (s3) => {
      const response = await s3.raw.send(
        {
          method: 'PUT',
          path: `/${s3.bucket}/object`,
          payloadHash: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
          headers: {
            'content-encoding': 'aws-chunked',
            'x-amz-decoded-content-length': String(WHOLE.length),
            'x-amz-trailer': 'x-amz-checksum-crc32',
            'x-amz-sdk-checksum-algorithm': 'CRC32',
          },
        },
        () => unsignedChunks(CHUNKS, ['x-amz-checksum-crc32', crc32Base64(Buffer.from('other'))]),
      );
      expect(response).toMatchObject({ status: 400, code: 'BadDigest' });
      expect(await s3.keys()).toEqual([]);
    },
  },
  {
    name: 'a body in signed chunks is verified and decoded',
    run: async (s3) => {
      const response = await s3.raw.send(
        {
          method: 'PUT',
          path: `/${s3.bucket}/object`,
          payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
          headers: {
            'content-encoding': 'aws-chunked',
            'x-amz-decoded-content-length': String(WHOLE.length),
          },
        },
        (seed) => signedChunks(seed, CHUNKS),
      );
      expect(response.status).toBe(200);
      expect((await s3.bytes('object')).equals(WHOLE)).toBe(true);
    },
  },
  {
    name: 'a body in signed chunks with a signed trailer is verified and decoded',
    run: async (s3) => {
      const response = await s3.raw.send(
        {
          method: 'PUT',
          path: `/${s3.bucket}/object`,
          payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
          headers: {
            'content-encoding': 'aws-chunked',
            'x-amz-decoded-content-length': String(WHOLE.length),
            'x-amz-trailer': 'x-amz-checksum-crc32',
          },
        },
        (seed) => signedChunks(seed, CHUNKS, ['x-amz-checksum-crc32', crc32Base64(WHOLE)]),
      );
      expect(response.status).toBe(200);
      expect((await s3.bytes('object')).equals(WHOLE)).toBe(true);
    },
  },
  {
    name: 'a chunk changed on the way is SignatureDoesNotMatch and stores nothing',
    run: async (s3) => {
      const response = await s3.raw.send(
        {
          method: 'PUT',
          path: `/${s3.bucket}/object`,
          payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
          headers: {
            'content-encoding': 'aws-chunked',
            'x-amz-decoded-content-length': String(WHOLE.length),
          },
        },
        (seed) => {
          const body = signedChunks(seed, CHUNKS);
          body[body.length >> 1]! ^= 1;
          return body;
        },
      );
      expect(response).toMatchObject({ status: 403, code: 'SignatureDoesNotMatch' });
      expect(await s3.keys()).toEqual([]);
    },
  },
  {
    name: 'a body whose hash is not the signed one is XAmzContentSHA256Mismatch',
    run: async (s3) => {
      const response = await s3.raw.send({
        method: 'PUT',
        path: `/${s3.bucket}/object`,
        body: 'body',
        payloadHash: createHash('sha256').update('other').digest('hex'),
      });
      expect(response).toMatchObject({ status: 400, code: 'XAmzContentSHA256Mismatch' });
      expect(await s3.keys()).toEqual([]);
    },
  },
  {
    name: 'Content-MD5 that fits is accepted',
    run: async (s3) => {
      await s3.put('object', 'body', { ContentMD5: createHash('md5').update('body').digest('base64') });
    },
  },
  {
    name: 'Content-MD5 that does not fit is BadDigest',
    run: async (s3) => {
      const ContentMD5 = createHash('md5').update('other').digest('base64');
      await expectError(s3.put('object', 'body', { ContentMD5 }), 400, 'BadDigest');
    },
  },
  {
    name: 'Content-MD5 that is none is InvalidDigest',
    run: (s3) => expectError(s3.put('object', 'body', { ContentMD5: 'nonsense' }), 400, 'InvalidDigest'),
  },
  {
    name: 'a multipart object has the composite checksum of its parts',
    run: async (s3) => {
      const target = { Bucket: s3.bucket, Key: 'object' };
      const { UploadId } = await s3.client.send(
        new CreateMultipartUploadCommand({ ...target, ChecksumAlgorithm: 'CRC32' }),
      );
      const part = await s3.client.send(
        new UploadPartCommand({
          ...target,
          UploadId,
          PartNumber: 1,
          Body: 'part',
          ChecksumAlgorithm: 'CRC32',
        }),
      );
      const Parts = [{ PartNumber: 1, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32 }];
      const done = await s3.client.send(
        new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } }),
      );
      const ofPart = Buffer.from(crc32Base64(Buffer.from('part')), 'base64');
      expect(done.ChecksumCRC32).toBe(`${crc32Base64(ofPart)}-1`);
    },
  },
  {
    name: 'a PUT without a length is MissingContentLength',
    run: async (s3) => {
      const response = await s3.raw.send({
        method: 'PUT',
        path: `/${s3.bucket}/object`,
        payloadHash: 'UNSIGNED-PAYLOAD',
        body: 'x',
        tamper: (headers) => {
          delete headers['content-length'];
          headers['transfer-encoding'] = 'chunked';
        },
      });
      expect(response).toMatchObject({ status: 411, code: 'MissingContentLength' });
    },
  },
];
