import { randomBytes } from 'node:crypto';
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type S3Config, s3Config } from '../../backends/s3/config.ts';
import s3 from '../../backends/s3/index.ts';
import { context, MIB, readAll, sameBytes } from '../backends/s3/harness.ts';
import { refusal } from '../backends/s3/log/disk.ts';
import { startS3, type TestS3 } from '../support/s3.ts';

/** With what has to be escaped in a URL, and in a signature. */
const KEY = 'images/Débian 12 (cloud)+x86.raw';

describe('images on the embedded server', () => {
  let server: TestS3;

  beforeAll(async () => {
    server = await startS3('the embedded server');
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  const settings = (options: Record<string, unknown> = {}): S3Config =>
    s3Config.parse({ ...server.backend, layout: 'image', key: KEY, ...options });

  const where = () => ({ Bucket: server.bucket, Key: KEY });

  const open = (config = settings()) => s3.open(config, context({ readOnly: true }));

  async function uploadInParts(body: Buffer): Promise<string> {
    const { client } = server;
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(where()));
    const Parts = [];
    for (let at = 0; at < body.length; at += 5 * MIB) {
      const PartNumber = at / (5 * MIB) + 1;
      const part = { ...where(), UploadId, PartNumber, Body: body.subarray(at, at + 5 * MIB) };
      Parts.push({ PartNumber, ETag: (await client.send(new UploadPartCommand(part))).ETag });
    }
    const done = { ...where(), UploadId, MultipartUpload: { Parts } };
    return (await client.send(new CompleteMultipartUploadCommand(done))).ETag!;
  }

  it('are disks, also when they were uploaded in parts', async () => {
    const body = randomBytes(11 * MIB + 512);
    const etag = await uploadInParts(body);
    expect(etag).toMatch(/-3"$/);
    expect(await s3.volumes!.info(settings(), context())).toMatchObject({
      size: body.length,
      details: { etag, layout: 'image' },
    });
    await using device = await open();
    expect(sameBytes(await readAll(device, 0, body.length), body)).toBe(true);
    expect(sameBytes(await readAll(device, body.length - 512, 512), body.subarray(-512))).toBe(true);
  });

  it('are errors from the moment on in which they are replaced, truncated or deleted, until they are back', async () => {
    const body = randomBytes(4 * MIB);
    const put = (Body: Buffer) => server.client.send(new PutObjectCommand({ ...where(), Body }));
    await put(body);
    await using device = await open(settings({ readCache: 0 }));
    const fails = async (offset: number) =>
      expect((async () => device.read(offset, [new Uint8Array(4096)], 0))()).rejects.toMatchObject({
        code: 'EIO',
      });
    await put(randomBytes(4 * MIB));
    await fails(0);
    await put(body.subarray(0, MIB));
    await fails(0);
    await fails(2 * MIB);
    await server.client.send(new DeleteObjectCommand(where()));
    await fails(MIB);
    await put(body);
    expect(sameBytes(await readAll(device, 0, body.length), body)).toBe(true);
  });

  it('are looked at by doctor, and changed by nothing', async () => {
    await server.client.send(new PutObjectCommand({ ...where(), Body: Buffer.alloc(MIB) }));
    const readOnly = context({ readOnly: true });
    expect(await s3.check!(settings(), readOnly)).toEqual([
      { severity: 'ok', summary: `there is an image of ${MIB} bytes at "${KEY}"` },
    ]);
    expect(await s3.check!(settings({ key: 'images/none' }), readOnly)).toMatchObject([
      { severity: 'error' },
    ]);
    expect(await s3.check!(settings(), context())).toMatchObject([
      { severity: 'error', fix: expect.stringContaining('"readOnly": true') },
    ]);
    const before = await server.client.send(new HeadObjectCommand(where()));
    const volumes = s3.volumes!;
    for (const attempt of [
      volumes.create(settings(), context()),
      volumes.delete(settings(), { force: true, progress: () => undefined }, context()),
      volumes.resize(settings(), 2 * MIB, context()),
      volumes.snapshots!.create(settings(), 'snapshot', context()),
      volumes.qualify!(settings(), context()),
      volumes.check!(settings(), { data: true, repair: true, progress: () => undefined }, context()),
    ])
      expect((await refusal(attempt)).code).toBe('volume.unsupported');
    expect((await refusal(s3.open(settings(), context()))).code).toBe('image.read-only');
    expect(await server.client.send(new HeadObjectCommand(where()))).toMatchObject({
      ETag: before.ETag,
      LastModified: before.LastModified,
    });
    const { Contents } = await server.client.send(new ListObjectsV2Command({ Bucket: server.bucket }));
    expect(Contents!.map(({ Key }) => Key)).toEqual([KEY]);
  });
});
