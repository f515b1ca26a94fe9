import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { checkVolume } from '../../../../backends/s3/log/check/check-volume.ts';
import { listChanges } from '../../../../backends/s3/log/volume/changed-blocks.ts';
import { flattenVolume } from '../../../../backends/s3/log/volume/flatten.ts';
import {
  cloneVolume,
  createSnapshot,
  rollbackVolume,
} from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { createVolume, deleteVolume, resizeVolume, volumeInfo } from '../../../../backends/s3/volumes.ts';
import type { BlockDevice, GatewayError } from '../../../../core/plugin.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import type { FakeBucket } from '../fake-store.ts';
import { KIB, MIB, readAll, sameBytes } from '../harness.ts';
import { bucketWith, KEY, upload } from '../image/images.ts';
import { newVolume, opened, operate, refusal, settings } from './disk.ts';
import { keyFile } from './key-files.ts';

const BLOCK = 4 * KIB;
/** No multiple of a block, and more than a page of the map. */
const IMAGE = 66 * MIB + 7 * KIB + 512;
const SIZE = 80 * MIB;
const OPTIONS = { image: KEY };

/** What a disk over the image should hold, and does. */
class Model {
  readonly bytes = Buffer.alloc(SIZE);

  constructor(image: Buffer) {
    image.copy(this.bytes);
  }

  /** Writes, zeros and discards in some places, and flushes. */
  async change(device: BlockDevice, random: () => number, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const at = 512 * Math.floor((random() * SIZE) / 512);
      const length = 512 * (1 + Math.floor((random() * Math.min(SIZE - at, 300 * KIB - 512)) / 512));
      const what = random();
      if (what < 0.6) {
        const data = randomBytes(length);
        await device.write!(at, [data], 0);
        data.copy(this.bytes, at);
      } else if (what < 0.8) {
        await device.writeZeroes!(at, length, 0);
        this.bytes.fill(0, at, at + length);
      } else {
        const [from, to] = [Math.ceil(at / BLOCK) * BLOCK, Math.floor((at + length) / BLOCK) * BLOCK];
        if (to <= from) continue;
        await device.discard!(from, to - from, 0);
        this.bytes.fill(0, from, to);
      }
    }
    await device.flush!(0);
  }

  async differs(device: BlockDevice): Promise<number | undefined> {
    for (let at = 0; at < SIZE; at += MIB) {
      const data = await readAll(device, at, MIB);
      if (!sameBytes(data, this.bytes.subarray(at, at + MIB))) return at;
    }
    return undefined;
  }
}

/** A volume over an image with this content. */
async function over(image: Buffer, options: Record<string, unknown> = {}): Promise<FakeBucket> {
  const bucket = bucketWith(image);
  await newVolume(SIZE, { ...OPTIONS, ...options }, bucket);
  return bucket;
}

const findings = async (bucket: FakeBucket, options: Record<string, unknown>) => {
  const { findings } = await operate(
    bucket,
    (operation) => checkVolume(operation, { data: true, repair: false, progress: () => undefined }),
    options,
  );
  return findings;
};

/** All that is said of an error, in one string. */
const told = ({ message, why, fix }: GatewayError): string => [message, why, fix].join(' ');

describe('a volume that begins as an image', () => {
  it('holds what the image does but for what was written, discarded or zeroed since', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = seededRandom(seed);
    const image = randomBytes(IMAGE);
    const bucket = await over(image);
    const model = new Model(image);
    for (let round = 0; round < 3; round++) {
      await using disk = await opened(bucket, OPTIONS);
      await model.change(disk.device, random, 40);
      expect(await model.differs(disk.device), `seed ${seed}, round ${round}`).toBeUndefined();
    }
    await using disk = await opened(bucket, {}, { readOnly: true });
    expect(await model.differs(disk.device), `seed ${seed}, at the end`).toBeUndefined();
    expect(await findings(bucket, OPTIONS), `seed ${seed}`).toEqual([]);
    expect(bucket.objects.get(KEY)!.body.equals(image)).toBe(true);
  });

  it('takes as much to make and to open as an empty one, and reads of the image what is asked for', async () => {
    const image = randomBytes(IMAGE);
    const bucket = await over(image);
    const own = [...bucket.objects].filter(([key]) => key !== KEY);
    expect(own.reduce((bytes, [, { body }]) => bytes + body.length, 0)).toBeLessThan(8 * KIB);
    await using disk = await opened(bucket, OPTIONS);
    await readAll(disk.device, 40 * MIB, BLOCK);
    expect(disk.store.count('read', KEY)).toBe(1);
    expect(disk.store.requests.filter(({ key }) => key === KEY)[0]!.bytes).toBeLessThanOrEqual(128 * KIB);
    expect(disk.device.status!()).toMatchObject({ image: expect.stringMatching(`^${KEY}, ETag `) });
  });

  it('is as large as the image, unless it is to be larger; not smaller', async () => {
    const image = randomBytes(IMAGE);
    const bucket = bucketWith(image);
    expect(await operate(bucket, createVolume, OPTIONS)).toMatchObject({
      size: Math.ceil(IMAGE / BLOCK) * BLOCK,
      details: { image: expect.stringMatching(`^${KEY}, ETag `) },
    });
    const error = await refusal(
      operate(bucket, createVolume, { ...OPTIONS, prefix: 'disks/b', size: 64 * MIB }),
    );
    expect(error.code).toBe('volume.bad-size');
    expect(told(error)).toContain(String(IMAGE));
    await operate(bucket, (operation) => resizeVolume(operation, SIZE), OPTIONS);
    await using disk = await opened(bucket, OPTIONS);
    expect(await new Model(image).differs(disk.device)).toBeUndefined();
  });

  it('is not made of what is no raw disk, or is not there', async () => {
    const qcow2 = Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(MIB - 4)]);
    expect((await refusal(over(qcow2))).code).toBe('image.not-raw');
    await over(qcow2, { format: 'raw' });
    const error = await refusal(newVolume(SIZE, OPTIONS));
    expect(error.code).toBe('image.not-found');
    expect(error.fix).toContain('"image"');
    expect((await refusal(over(Buffer.alloc(1000)))).code).toBe('image.bad-size');
  });

  it('is continued where its creation was interrupted', async () => {
    const image = randomBytes(IMAGE);
    const bucket = await over(image);
    bucket.objects.delete('disks/a/head');
    await newVolume(SIZE, OPTIONS, bucket);
    await using disk = await opened(bucket, OPTIONS);
    expect(await new Model(image).differs(disk.device)).toBeUndefined();
  });

  it('has snapshots and clones, which need the image as well', async () => {
    const image = randomBytes(IMAGE);
    const bucket = await over(image);
    const random = seededRandom(7);
    const model = new Model(image);
    await operate(bucket, (operation) => createSnapshot(operation, 'one'), OPTIONS);
    {
      await using disk = await opened(bucket, OPTIONS);
      await model.change(disk.device, random, 20);
    }
    let changed = 0;
    await operate(
      bucket,
      (operation) =>
        listChanges(operation, { from: 'one' }, ({ length }) => {
          changed += length;
        }),
      OPTIONS,
    );
    expect(changed).toBeGreaterThan(0);
    expect(changed).toBeLessThan(20 * 300 * KIB);
    await operate(bucket, (operation) => cloneVolume(operation, 'one', settings({ prefix: 'disks/b' })));
    const clone = { prefix: 'disks/b' };
    const cloned = new Model(image);
    {
      await using disk = await opened(bucket, clone);
      expect(await cloned.differs(disk.device)).toBeUndefined();
      await cloned.change(disk.device, random, 20);
    }
    expect(await findings(bucket, clone)).toEqual([]);
    await operate(bucket, (operation) => rollbackVolume(operation, 'one'), OPTIONS);
    {
      await using disk = await opened(bucket, OPTIONS);
      expect(await new Model(image).differs(disk.device)).toBeUndefined();
    }
    await using disk = await opened(bucket, clone);
    expect(await cloned.differs(disk.device)).toBeUndefined();
  });

  it('needs the image no more once it is flattened', async () => {
    const image = randomBytes(IMAGE);
    const bucket = await over(image);
    const model = new Model(image);
    {
      await using disk = await opened(bucket, OPTIONS);
      await model.change(disk.device, seededRandom(8), 20);
    }
    await operate(bucket, (operation) => flattenVolume(operation, () => undefined), OPTIONS);
    bucket.objects.delete(KEY);
    await using disk = await opened(bucket, OPTIONS);
    expect(await model.differs(disk.device)).toBeUndefined();
    expect(disk.device.status!()).not.toHaveProperty('image');
    await disk[Symbol.asyncDispose]();
    expect(await findings(bucket, OPTIONS)).toEqual([]);
    expect((await operate(bucket, volumeInfo, OPTIONS)).details).not.toHaveProperty('image');
  });

  it('is flattened while it is in use', async () => {
    const image = randomBytes(IMAGE);
    const bucket = await over(image);
    const model = new Model(image);
    const options = { ...OPTIONS, flatten: true };
    {
      await using disk = await opened(bucket, options);
      for (const random = seededRandom(10); disk.device.status!()['flatten'] !== 'done'; ) {
        await model.change(disk.device, random, 2);
        await sleep(5);
      }
      expect(await model.differs(disk.device)).toBeUndefined();
    }
    bucket.objects.delete(KEY);
    await using disk = await opened(bucket, options);
    expect(await model.differs(disk.device)).toBeUndefined();
  });

  it('does not fill the cache on disk with what is only copied', async () => {
    using folder = tempFolder();
    const options = { ...OPTIONS, flatten: true, diskCache: { path: folder.path, size: 128 * MIB } };
    const bucket = await over(randomBytes(IMAGE));
    {
      await using disk = await opened(bucket, options);
      while (disk.device.status!()['flatten'] !== 'done') await sleep(5);
    }
    // Another volume over the same image, and with the same cache.
    const other = { ...options, prefix: 'disks/b', flatten: false };
    await newVolume(SIZE, other, bucket);
    await using disk = await opened(bucket, other);
    await readAll(disk.device, 0, MIB);
    expect(disk.store.count('read', KEY)).toBeGreaterThan(0);
  });

  it('is encrypted, and the image is not', async () => {
    const options = { ...OPTIONS, encryption: keyFile('key') };
    const image = randomBytes(IMAGE);
    const bucket = await over(image, options);
    const model = new Model(image);
    {
      await using disk = await opened(bucket, options);
      await model.change(disk.device, seededRandom(9), 20);
    }
    await using disk = await opened(bucket, options);
    expect(await model.differs(disk.device)).toBeUndefined();
    expect(await findings(bucket, options)).toEqual([]);
  });

  it('fails reads of an image that was replaced while it is open, and is not opened then', async () => {
    const image = randomBytes(IMAGE);
    const bucket = await over(image);
    await using disk = await opened(bucket, OPTIONS);
    await readAll(disk.device, 0, BLOCK);
    const body = randomBytes(IMAGE);
    upload(bucket, body);
    // Of the memory: as it was.
    expect(sameBytes(await readAll(disk.device, 0, BLOCK), image.subarray(0, BLOCK))).toBe(true);
    await expect(Promise.resolve(disk.device.read(32 * MIB, [Buffer.alloc(BLOCK)], 0))).rejects.toMatchObject(
      {
        code: 'EIO',
        message: expect.stringContaining('was replaced'),
      },
    );
    // What is not of the image goes on.
    await disk.device.write!(32 * MIB, [Buffer.alloc(BLOCK, 7)], 0);
    await disk.device.flush!(0);
    expect(disk.logger.lines.map(({ message }) => message).join()).toContain('the image is not what it was');
    await disk[Symbol.asyncDispose]();
    const error = await refusal(opened(bucket, OPTIONS));
    expect(error.code).toBe('volume.image-changed');
    expect(told(error)).toContain(KEY);
    expect(await findings(bucket, OPTIONS)).toMatchObject([
      { severity: 'error', where: KEY, what: expect.stringContaining('was replaced') },
    ]);
    bucket.objects.delete(KEY);
    expect((await refusal(opened(bucket, OPTIONS))).message).toContain('is missing');
  });

  it('is refused where the configuration names another image', async () => {
    const bucket = await over(randomBytes(IMAGE));
    const error = await refusal(opened(bucket, { image: 'images/other.raw' }));
    expect(error.code).toBe('volume.image-mismatch');
    expect(told(error)).toContain(KEY);
    const plain = await newVolume(SIZE);
    expect((await refusal(opened(plain, OPTIONS))).code).toBe('volume.image-mismatch');
  });

  it('leaves the image behind when it is deleted', async () => {
    const image = randomBytes(IMAGE);
    const bucket = await over(image);
    await operate(
      bucket,
      (operation) => deleteVolume(operation, { force: false, progress: () => undefined }),
      OPTIONS,
    );
    expect([...bucket.objects.keys()]).toEqual([KEY]);
    expect(bucket.objects.get(KEY)!.body.equals(image)).toBe(true);
  });

  it('keeps what it has read of the image on the disk, over restarts', async () => {
    await using folder = await tempFolder();
    const options = { ...OPTIONS, diskCache: { path: folder.path, size: 64 * MIB }, readCache: 0 };
    const image = randomBytes(IMAGE);
    const bucket = await over(image);
    {
      await using disk = await opened(bucket, options);
      await readAll(disk.device, 0, 4 * MIB);
    }
    await using disk = await opened(bucket, options);
    expect(sameBytes(await readAll(disk.device, 0, 4 * MIB), image.subarray(0, 4 * MIB))).toBe(true);
    expect(disk.store.requests.filter(({ operation, key }) => operation === 'read' && key === KEY)).toEqual(
      [],
    );
  });
});
