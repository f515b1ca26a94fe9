import { readFile } from 'node:fs/promises';
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ceph, startCeph } from '../support/ceph.ts';

let ceph: Ceph;
let client: S3Client;

beforeAll(async () => {
  ceph = await startCeph();
  const { endpoint, region, accessKeyId, secretAccessKey } = ceph;
  client = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  });
  await client.send(new CreateBucketCommand({ Bucket: 'bucket' }));
});

afterAll(async () => {
  client?.destroy();
  await ceph?.[Symbol.asyncDispose]();
});

describe('Ceph RGW', () => {
  it('lets exactly one of sixteen create an object', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 16 }, (_, i) =>
        client.send(new PutObjectCommand({ Bucket: 'bucket', Key: 'race', Body: `${i}`, IfNoneMatch: '*' })),
      ),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('keeps every acknowledged object when all of it is killed', async () => {
    const keys = Array.from({ length: 32 }, (_, i) => `kept/${i}`);
    await Promise.all(
      keys.map((Key) => client.send(new PutObjectCommand({ Bucket: 'bucket', Key, Body: Key }))),
    );
    await ceph.kill9();
    await ceph.restart();
    for (const Key of keys) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: 'bucket', Key }));
      expect(await Body?.transformToString()).toBe(Key);
    }
  });

  it('leaves no mount behind on the machine', async () => {
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain('/ceph-sid-');
  });
});
