import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { openVolume } from '../../../../backends/s3/open.ts';
import type { BlockDevice } from '../../../../core/plugin.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE, KIB, MIB, readAll, sameBytes } from '../harness.ts';
import { refusal } from '../log/disk.ts';
import { bucketWith, KEY, opened, settings, upload } from './images.ts';

/** No multiple of any unit but the sector. */
const SIZE = 3 * MIB + 7 * KIB + 512;

async function fails(device: BlockDevice, offset: number, length: number): Promise<string> {
  const error = await Promise.resolve(device.read(offset, [new Uint8Array(length)], 0)).then(
    () => expect.fail('the read did not fail'),
    (failure: { code: string; message: string }) => failure,
  );
  expect(error.code).toBe('EIO');
  return error.message;
}

describe('an image as a disk', () => {
  it('reads what the object has, wherever, in whatever pieces, while the store fails', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = seededRandom(seed);
    const body = randomBytes(SIZE);
    await using disk = await opened(bucketWith(body), { readCache: '256KiB' }, random);
    disk.store.faults = { throttled: 0.1, unreachable: 0.1, lostResponse: 0.05 };
    expect(disk.device.info.size).toBe(SIZE);
    const sectors = SIZE / 512;
    await Promise.all(
      Array.from({ length: 300 }, async () => {
        const first = Math.floor(random() * sectors);
        const length = 512 * (1 + Math.floor(random() * Math.min(sectors - first, 300)));
        const cut = Math.floor(random() * length);
        const data = Buffer.alloc(length, 0xee);
        await disk.device.read(first * 512, [data.subarray(0, cut), data.subarray(cut)], 0);
        const expected = body.subarray(first * 512, first * 512 + length);
        expect(data.equals(expected), `seed ${seed}, ${first * 512}+${length}`).toBe(true);
      }),
    );
    expect(sameBytes(await readAll(disk.device, 0, SIZE), body), `seed ${seed}`).toBe(true);
  });

  it('is one of an upload in parts, whose ETag is no checksum', async () => {
    const body = randomBytes(MIB);
    await using disk = await opened(bucketWith(body, '"d41d8cd98f00b204e9800998ecf8427e-3"'));
    expect(sameBytes(await readAll(disk.device, 0, MIB), body)).toBe(true);
    expect(disk.device.info.content).toContain('"d41d8cd98f00b204e9800998ecf8427e-3"');
    expect(disk.device.status!()).toMatchObject({
      state: 'read-only',
      image: `${KEY}, ETag "d41d8cd98f00b204e9800998ecf8427e-3"`,
      GET: expect.stringContaining('per hour'),
    });
  });

  it('cannot be written', async () => {
    await using disk = await opened(bucketWith(randomBytes(MIB)));
    expect(disk.device.info.caps?.readOnly).toBe(true);
    const { write, discard, writeZeroes, resize, snapshot } = disk.device;
    expect([write, discard, writeZeroes, resize, snapshot]).toEqual(new Array(5).fill(undefined));
  });

  it('is asked for once by all who want it, and not again', async () => {
    const body = randomBytes(MIB);
    await using disk = await opened(bucketWith(body));
    const reads = await Promise.all(
      Array.from({ length: 8 }, (_, i) => readAll(disk.device, 64 * KIB + i * 512, 16 * KIB)),
    );
    for (const [i, data] of reads.entries())
      expect(sameBytes(data, body.subarray(64 * KIB + i * 512, 80 * KIB + i * 512))).toBe(true);
    expect(disk.store.count('read')).toBe(2);
    await readAll(disk.device, 64 * KIB, 20 * KIB);
    expect(disk.store.count('read')).toBe(2);
  });

  it('is fetched ahead of a guest that reads on and on', async () => {
    const body = randomBytes(8 * MIB);
    await using disk = await opened(bucketWith(body));
    for (let at = 0; at < body.length; at += 64 * KIB)
      expect(sameBytes(await readAll(disk.device, at, 64 * KIB), body.subarray(at, at + 64 * KIB))).toBe(
        true,
      );
    expect(disk.store.count('read')).toBeLessThan(32);
    expect(disk.store.requests.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(body.length);
  });

  it('is fetched when a client asks for it ahead, as far as there is room', async () => {
    const body = randomBytes(8 * MIB);
    await using disk = await opened(bucketWith(body), { readCache: '4MiB' });
    await disk.device.prefetch!(512, 8 * MIB - 512);
    expect(disk.store.requests.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(MIB);
    disk.store.requests.length = 0;
    expect(sameBytes(await readAll(disk.device, 0, MIB), body.subarray(0, MIB))).toBe(true);
    expect(disk.store.requests).toEqual([]);
  });
});

describe('an image that is replaced under its disk', () => {
  it.each([
    ['replaced by one as large', (bucket: FakeBucket) => upload(bucket, randomBytes(SIZE)), 'was replaced'],
    ['truncated', (bucket: FakeBucket) => upload(bucket, Buffer.alloc(512)), 'was replaced'],
    [
      'of another size, with the same ETag',
      (bucket: FakeBucket) => upload(bucket, Buffer.alloc(2 * SIZE), '"e"'),
      'was replaced',
    ],
    ['deleted', (bucket: FakeBucket) => bucket.objects.delete(KEY), 'is missing from the bucket'],
  ])('is an error where it is %s, and what was read before stays', async (_what, change, why) => {
    const body = randomBytes(SIZE);
    const bucket = bucketWith(body, '"e"');
    await using disk = await opened(bucket);
    await readAll(disk.device, 0, 16 * KIB);
    change(bucket);
    expect(await fails(disk.device, MIB, 4 * KIB)).toContain(`the image ${KEY} ${why}`);
    await fails(disk.device, SIZE - 512, 512);
    expect(sameBytes(await readAll(disk.device, 0, 16 * KIB), body.subarray(0, 16 * KIB))).toBe(true);
    expect(disk.logger.lines).toMatchObject([
      { level: 'error', message: 'the image is not what it was; what is not in a cache cannot be read' },
    ]);
    expect(disk.device.status!()['state']).toContain(why);

    upload(bucket, body, '"e"');
    expect(sameBytes(await readAll(disk.device, MIB, MIB), body.subarray(MIB, 2 * MIB))).toBe(true);
    expect(disk.logger.lines.at(-1)).toMatchObject({ message: 'the image is again what it was' });
    expect(disk.device.status!()['state']).toBe('read-only');
  });

  it('is never mixed with the other one in one request', async () => {
    const [old, other] = [Buffer.alloc(6 * MIB, 1), Buffer.alloc(6 * MIB, 2)];
    const bucket = bucketWith(old);
    await using disk = await opened(bucket);
    let requests = 0;
    disk.store.gate = async () => {
      if (++requests === 1) return;
      await sleep(0);
      upload(bucket, other);
    };
    expect(await fails(disk.device, 0, 6 * MIB)).toContain('was replaced');
    expect(requests).toBe(3);
    // Of what was fetched, all is of the first.
    let intact = 0;
    for (let at = 0; at < old.length; at += MIB) {
      const data = await readAll(disk.device, at, MIB).catch(() => undefined);
      if (data === undefined) continue;
      intact++;
      expect(data.every((byte) => byte === 1)).toBe(true);
    }
    expect(intact).toBe(2);
  });

  it('is opened as what it is by then', async () => {
    const bucket = bucketWith(Buffer.alloc(MIB, 1));
    await (await opened(bucket))[Symbol.asyncDispose]();
    upload(bucket, Buffer.alloc(2 * MIB, 2));
    await using disk = await opened(bucket);
    expect(disk.device.info.size).toBe(2 * MIB);
    expect(await readAll(disk.device, 0, 512)).toEqual(new Uint8Array(512).fill(2));
  });
});

describe('an image with a cache on disk', () => {
  const cached = (path: string) => ({ diskCache: { path, size: '16MiB' } });

  it('is not asked for again after a restart, also where it ends within a frame', async () => {
    using folder = tempFolder();
    const body = randomBytes(SIZE);
    const bucket = bucketWith(body);
    for (const requests of [2, 0]) {
      await using disk = await opened(bucket, cached(folder.path));
      expect(sameBytes(await readAll(disk.device, 0, SIZE), body)).toBe(true);
      expect(disk.store.count('read')).toBe(requests);
    }
  });

  it('is not taken for the one that was there before', async () => {
    using folder = tempFolder();
    const bucket = new FakeBucket();
    for (const tag of [1, 2]) {
      upload(bucket, Buffer.alloc(MIB, tag));
      await using disk = await opened(bucket, cached(folder.path));
      expect((await readAll(disk.device, 0, MIB)).every((byte) => byte === tag)).toBe(true);
    }
  });
});

describe('what is no image for a disk', () => {
  const open = (bucket: FakeBucket, options: Record<string, unknown> = {}, readOnly = true) => {
    const store = new FakeStore(bucket);
    return { store, error: refusal(openVolume(store, settings(options), context({ readOnly }), HASTE)) };
  };

  it('is one for a disk that can be written: it says how to get that', async () => {
    const { store, error } = open(bucketWith(randomBytes(MIB)), {}, false);
    expect(await error).toMatchObject({
      code: 'image.read-only',
      fix: expect.stringContaining('volume create'),
    });
    expect(store.requests).toEqual([]);
    expect(store.disposed).toBe(1);
  });

  it('is an object that is not there, or has no whole sectors', async () => {
    expect((await open(new FakeBucket()).error).code).toBe('image.not-found');
    for (const size of [0, 511, 513, MIB + 1])
      expect((await open(bucketWith(Buffer.alloc(size))).error).code, `${size} bytes`).toBe('image.bad-size');
  });

  it.each([
    ['QFI\xfb', 0, 'qcow2'],
    ['QED\0', 0, 'qed'],
    ['KDMV', 0, 'vmdk'],
    ['vhdxfile', 0, 'vhdx'],
    ['\x7f\x10\xda\xbe', 64, 'vdi'],
    ['\x1f\x8b\x08', 0, 'gzip'],
    ['\xfd7zXZ\0', 0, 'xz'],
    ['\x28\xb5\x2f\xfd', 0, 'zstd'],
  ])('is one that begins with %j, unless it is said to be raw', async (magic, at, format) => {
    const body = randomBytes(MIB);
    body.write(magic, at, 'latin1');
    const bucket = bucketWith(body);
    const error = await open(bucket).error;
    expect(error.code).toBe('image.not-raw');
    expect(error.message).toContain(format);
    expect(error.fix).toContain('"format": "raw"');
    await using disk = await opened(bucket, { format: 'raw' });
    expect(sameBytes(await readAll(disk.device, 0, 4 * KIB), body.subarray(0, 4 * KIB))).toBe(true);
  });

  it('is named by its format also where its size is wrong for a disk', async () => {
    expect((await open(bucketWith(Buffer.from('\x1f\x8b\x08 and so on', 'latin1'))).error).code).toBe(
      'image.not-raw',
    );
  });
});
