import { createHash } from 'node:crypto';
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
} from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { type Check, expectError, pattern } from './context.ts';

const ODD_KEYS = [
  'space in key',
  'plus+and&amp;=?',
  'percent%20literal',
  'ünïcödé/日本語/😀',
  'double//slash',
  'trailing/',
  '/leading',
  'dots/../and/./more',
  'quotes\'"<>',
  'ends with space ',
  `${'long/'.repeat(200)}x`,
];

export const objectChecks: readonly Check[] = [
  {
    name: 'a put object is read back byte by byte',
    run: async (s3) => {
      const data = pattern(4096);
      await s3.put('object', data);
      expect((await s3.bytes('object')).equals(data)).toBe(true);
    },
  },
  {
    name: 'the ETag is the quoted MD5 of the content',
    run: async (s3) => {
      const { ETag } = await s3.put('object', 'content');
      expect(ETag).toBe(`"${createHash('md5').update('content').digest('hex')}"`);
    },
  },
  {
    name: 'an overwrite is seen by the next read',
    run: async (s3) => {
      for (const body of ['first', 'second, longer', '3']) {
        await s3.put('object', body);
        expect(await s3.text('object')).toBe(body);
      }
    },
  },
  {
    name: 'an object may be empty',
    run: async (s3) => {
      await s3.put('empty', '');
      expect(await s3.text('empty')).toBe('');
    },
  },
  {
    name: '16 MiB in one PUT come back whole',
    run: async (s3) => {
      const data = pattern(16 * 2 ** 20);
      await s3.put('large', data);
      expect((await s3.bytes('large')).equals(data)).toBe(true);
    },
  },
  {
    name: 'content type, cache control and user metadata are kept',
    run: async (s3) => {
      await s3.put('object', 'x', {
        ContentType: 'text/x-test; charset=utf-8',
        CacheControl: 'max-age=5',
        ContentDisposition: 'attachment',
        ContentEncoding: 'identity',
        Metadata: { colour: 'blue', 'two-words': 'a b' },
      });
      const head = await s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: 'object' }));
      expect(head).toMatchObject({
        ContentLength: 1,
        ContentType: 'text/x-test; charset=utf-8',
        CacheControl: 'max-age=5',
        ContentDisposition: 'attachment',
        ContentEncoding: 'identity',
        Metadata: { colour: 'blue', 'two-words': 'a b' },
        AcceptRanges: 'bytes',
      });
      expect(head.LastModified).toBeInstanceOf(Date);
    },
  },
  {
    name: 'response-content-type overrides the stored one',
    run: async (s3) => {
      await s3.put('object', 'x', { ContentType: 'text/plain' });
      const got = await s3.client.send(
        new GetObjectCommand({ Bucket: s3.bucket, Key: 'object', ResponseContentType: 'text/html' }),
      );
      expect(got.ContentType).toBe('text/html');
    },
  },
  {
    name: 'HEAD of a missing key is 404 without a body',
    run: async (s3) => {
      const response = await s3.raw.send({ method: 'HEAD', path: `/${s3.bucket}/missing` });
      expect(response).toMatchObject({ status: 404, body: Buffer.alloc(0) });
    },
  },
  {
    name: 'GET of a missing key is NoSuchKey',
    run: (s3) => expectError(s3.text('missing'), 404, 'NoSuchKey'),
  },
  {
    name: 'GET in a missing bucket is NoSuchBucket',
    run: async (s3) => {
      const call = s3.client.send(new GetObjectCommand({ Bucket: `${s3.bucket}-not`, Key: 'x' }));
      await expectError(call, 404, 'NoSuchBucket');
    },
  },
  {
    name: 'PUT into a missing bucket is NoSuchBucket',
    run: (s3) => expectError(s3.put('x', 'x', { Bucket: `${s3.bucket}-not` }), 404, 'NoSuchBucket'),
  },
  ...ODD_KEYS.map(
    (key): Check => ({
      name: `key ${JSON.stringify(key.length > 40 ? `${key.slice(0, 20)}… (${key.length} bytes)` : key)}`,
      run: async (s3) => {
        await s3.put(key, `content of ${key}`);
        expect(await s3.text(key)).toBe(`content of ${key}`);
        expect(await s3.keys()).toEqual([key]);
        await s3.client.send(new DeleteObjectCommand({ Bucket: s3.bucket, Key: key }));
        expect(await s3.keys()).toEqual([]);
      },
    }),
  ),
  {
    name: 'a key of more than 1024 bytes is refused',
    run: (s3) => expectError(s3.put('k'.repeat(1025)), 400, 'KeyTooLongError'),
  },
  {
    name: 'keys a and a/b are two objects',
    run: async (s3) => {
      await s3.put('a', 'one');
      await s3.put('a/b', 'two');
      expect([await s3.text('a'), await s3.text('a/b')]).toEqual(['one', 'two']);
    },
  },
  {
    name: 'a deleted object is gone, and deleting it again succeeds',
    run: async (s3) => {
      await s3.put('object');
      const remove = () => s3.client.send(new DeleteObjectCommand({ Bucket: s3.bucket, Key: 'object' }));
      await remove();
      await expectError(s3.text('object'), 404, 'NoSuchKey');
      await remove();
    },
  },
  {
    name: 'DeleteObjects deletes what it names, missing or not',
    run: async (s3) => {
      await s3.put('a & <b>');
      await s3.put('stays');
      const Objects = [{ Key: 'a & <b>' }, { Key: 'missing' }];
      const result = await s3.client.send(
        new DeleteObjectsCommand({ Bucket: s3.bucket, Delete: { Objects } }),
      );
      expect(result.Deleted?.map((entry) => entry.Key).sort()).toEqual(['a & <b>', 'missing']);
      expect(await s3.keys()).toEqual(['stays']);
    },
  },
  {
    name: 'DeleteObjects takes 1000 keys, and quiet leaves successes out',
    run: async (s3) => {
      await s3.put('key-0999');
      const Objects = Array.from({ length: 1000 }, (_, i) => ({ Key: `key-${String(i).padStart(4, '0')}` }));
      const result = await s3.client.send(
        new DeleteObjectsCommand({ Bucket: s3.bucket, Delete: { Objects, Quiet: true } }),
      );
      expect(result.Deleted ?? []).toEqual([]);
      expect(await s3.keys()).toEqual([]);
    },
  },
  {
    name: 'a copy has the content and metadata of its source',
    run: async (s3) => {
      await s3.put('söurce +', 'content', { ContentType: 'text/x-copied', Metadata: { a: '1' } });
      const CopySource = `${s3.bucket}/${encodeURIComponent('söurce +')}`;
      await s3.client.send(new CopyObjectCommand({ Bucket: s3.bucket, Key: 'copy', CopySource }));
      const head = await s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: 'copy' }));
      expect(head).toMatchObject({ ContentType: 'text/x-copied', Metadata: { a: '1' } });
      expect(await s3.text('copy')).toBe('content');
    },
  },
  {
    name: 'a copy can replace the metadata',
    run: async (s3) => {
      await s3.put('source', 'content', { Metadata: { a: '1' } });
      await s3.client.send(
        new CopyObjectCommand({
          Bucket: s3.bucket,
          Key: 'source',
          CopySource: `${s3.bucket}/source`,
          MetadataDirective: 'REPLACE',
          Metadata: { b: '2' },
        }),
      );
      const head = await s3.client.send(new HeadObjectCommand({ Bucket: s3.bucket, Key: 'source' }));
      expect(head.Metadata).toEqual({ b: '2' });
    },
  },
  {
    name: 'a copy onto itself without a change is refused',
    run: async (s3) => {
      await s3.put('object');
      const CopySource = `${s3.bucket}/object`;
      const call = s3.client.send(new CopyObjectCommand({ Bucket: s3.bucket, Key: 'object', CopySource }));
      await expectError(call, 400, 'InvalidRequest');
    },
  },
  {
    name: 'a copy of a missing key is NoSuchKey',
    run: async (s3) => {
      const CopySource = `${s3.bucket}/missing`;
      const call = s3.client.send(new CopyObjectCommand({ Bucket: s3.bucket, Key: 'copy', CopySource }));
      await expectError(call, 404, 'NoSuchKey');
    },
  },
  {
    name: 'buckets are listed, headed and located',
    run: async (s3) => {
      const { Buckets } = await s3.client.send(new ListBucketsCommand({}));
      expect(Buckets?.map((bucket) => bucket.Name)).toContain(s3.bucket);
      await s3.client.send(new HeadBucketCommand({ Bucket: s3.bucket }));
      await s3.client.send(new GetBucketLocationCommand({ Bucket: s3.bucket }));
      await expectError(s3.client.send(new HeadBucketCommand({ Bucket: `${s3.bucket}-not` })), 404);
    },
  },
  {
    name: 'creating a bucket again keeps its objects',
    run: async (s3) => {
      await s3.put('object');
      await s3.client.send(new CreateBucketCommand({ Bucket: s3.bucket }));
      expect(await s3.keys()).toEqual(['object']);
    },
  },
  {
    name: 'a bucket with objects cannot be deleted',
    run: async (s3) => {
      await s3.put('object');
      await expectError(
        s3.client.send(new DeleteBucketCommand({ Bucket: s3.bucket })),
        409,
        'BucketNotEmpty',
      );
    },
  },
  {
    name: 'a deleted bucket is gone',
    run: async (s3) => {
      await s3.client.send(new DeleteBucketCommand({ Bucket: s3.bucket }));
      await expectError(s3.put('object'), 404, 'NoSuchBucket');
    },
  },
  {
    name: 'a bad bucket name is refused',
    run: async (s3) => {
      const response = await s3.raw.send({ method: 'PUT', path: '/Bad_Name' });
      expect(response).toMatchObject({ status: 400, code: 'InvalidBucketName' });
    },
  },
];
