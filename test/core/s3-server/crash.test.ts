import { readdir } from 'node:fs/promises';
import { CompleteMultipartUploadCommand, CreateBucketCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { expect, it } from 'vitest';
import { CheckContext, pattern, sdkClient } from '../../support/s3-conformance/context.ts';
import { startUpload } from '../../support/s3-conformance/multipart.ts';
import type { S3Target } from '../../support/s3-conformance/raw-client.ts';
import { startS3ServerProcess } from '../../support/s3-server-process.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const WRITERS = 8;
const ACKNOWLEDGED_BEFORE_KILL = 60;
const SIZE = 20_000;

/** Content that tells its version and is recognisably whole. */
const version = (writer: number, round: number): Buffer => pattern(SIZE + round, writer * 1000 + round);

async function createBucket(target: S3Target, Bucket: string): Promise<void> {
  const client = sdkClient(target);
  await client.send(new CreateBucketCommand({ Bucket }));
  client.destroy();
}

it('loses no acknowledged object and shows no torn one when it is killed among writers', async () => {
  using folder = tempFolder();
  const bucket = 'crash-bucket';
  /** By key, the rounds acknowledged, and those that were tried. */
  const acknowledged = new Map<string, number>();
  const tried = new Map<string, number>();
  await using first = await startS3ServerProcess(folder.path);
  await createBucket(first, bucket);
  let count = 0;
  const enough = Promise.withResolvers<void>();
  const client = sdkClient(first);
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    for (let round = 0; ; round++) {
      const key = `writer-${writer}/object-${round % 3}`;
      tried.set(key, round);
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: version(writer, round) }));
      acknowledged.set(key, round);
      if (++count === ACKNOWLEDGED_BEFORE_KILL) enough.resolve();
    }
  });
  const stopped = Promise.allSettled(writers);
  await enough.promise;
  await first.kill9();
  await stopped;
  client.destroy();

  await using second = await startS3ServerProcess(folder.path);
  const reader = new CheckContext(second, bucket);
  try {
    for (const key of await reader.keys()) {
      const writer = Number(/\d+/.exec(key)![0]);
      const body = await reader.bytes(key);
      const round = body.length - SIZE;
      expect(body.equals(version(writer, round)), `${key} is whole`).toBe(true);
      expect(round, `${key} is not older than acknowledged`).toBeGreaterThanOrEqual(
        acknowledged.get(key) ?? 0,
      );
      expect(round).toBeLessThanOrEqual(tried.get(key)!);
    }
    expect(await reader.keys()).toEqual(expect.arrayContaining([...acknowledged.keys()]));
    expect(await readdir(folder.file('tmp'))).toEqual([]);
  } finally {
    reader.close();
  }
});

it('keeps an upload and its parts when it is killed', async () => {
  using folder = tempFolder();
  await using first = await startS3ServerProcess(folder.path);
  const bucket = 'crash-bucket';
  await createBucket(first, bucket);
  const before = new CheckContext(first, bucket);
  const upload = await startUpload(before, 'object', ['the only part']);
  before.close();
  await first.kill9();

  await using second = await startS3ServerProcess(folder.path);
  const after = new CheckContext(second, bucket);
  try {
    const { UploadId, parts } = upload;
    const MultipartUpload = { Parts: parts };
    await after.client.send(
      new CompleteMultipartUploadCommand({ Bucket: bucket, Key: 'object', UploadId, MultipartUpload }),
    );
    expect(await after.text('object')).toBe('the only part');
  } finally {
    after.close();
  }
});
