import { describe, expect, it } from 'vitest';
import { s3Config } from '../../../../backends/s3/config.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import { withStore } from '../../../../backends/s3/operation.ts';
import { createVolume } from '../../../../backends/s3/volumes.ts';
import type { BlockDevice } from '../../../../core/plugin.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE, KIB, readAll, sameBytes } from '../harness.ts';

const SIZE = 256 * KIB;
const SECTOR = 512;

async function newDisk(): Promise<{
  readonly device: BlockDevice;
  readonly reopen: () => Promise<BlockDevice>;
}> {
  const bucket = new FakeBucket();
  const config = s3Config.parse({
    bucket: 'bucket',
    prefix: 'a',
    size: SIZE,
    readCache: 0,
    writeBuffer: '32KiB',
  });
  await withStore(new FakeStore(bucket), config, context(), createVolume);
  let device = await openVolume(new FakeStore(bucket), config, context(), HASTE);
  const reopen = async () => {
    await device[Symbol.asyncDispose]();
    device = await openVolume(new FakeStore(bucket), config, context(), HASTE);
    return device;
  };
  return { device, reopen };
}

describe('sectors on a log of larger blocks', () => {
  it('leaves the other sectors of a block alone, from memory and from the store', async () => {
    const { device, reopen } = await newDisk();
    const whole = Buffer.alloc(8 * KIB, 1);
    await device.write!(0, [whole], 0);
    await device.flush!(0);
    const again = await reopen();
    await again.write!(SECTOR, [Buffer.alloc(SECTOR, 2)], 0);
    await again.write!(4 * KIB - SECTOR, [Buffer.alloc(2 * SECTOR, 3)], 0);
    whole.fill(2, SECTOR, 2 * SECTOR).fill(3, 4 * KIB - SECTOR, 4 * KIB + SECTOR);
    expect(sameBytes(await readAll(again, 0, 8 * KIB), whole)).toBe(true);
    expect(
      sameBytes(await readAll(again, 3 * SECTOR, 7 * SECTOR), whole.subarray(3 * SECTOR, 10 * SECTOR)),
    ).toBe(true);
    await again[Symbol.asyncDispose]();
  });

  it.each([1, 2, 3, 4])('agrees with a model when many requests are under way, seed %i', async (seed) => {
    const random = seededRandom(seed);
    const { device, reopen } = await newDisk();
    const model = Buffer.alloc(SIZE);
    const sectors = SIZE / SECTOR;
    for (let round = 0; round < 40; round++) {
      // In one round every sector is written at most once: what is under way does not overlap.
      const pending: unknown[] = [];
      for (let at = Math.floor(random() * 8); at < sectors; ) {
        const count = Math.min(sectors - at, 1 + Math.floor(random() * 20));
        const [from, to] = [at * SECTOR, (at + count) * SECTOR];
        const kind = random();
        if (kind < 0.7) {
          const bytes = Buffer.alloc(to - from, 1 + Math.floor(random() * 255));
          model.set(bytes, from);
          pending.push(device.write!(from, [bytes.subarray(0, SECTOR), bytes.subarray(SECTOR)], 0));
        } else if (kind < 0.85) {
          model.fill(0, from, to);
          pending.push(device.writeZeroes!(from, to - from, 0));
        }
        at += count + Math.floor(random() * 4);
      }
      await Promise.all(pending);
      if (random() < 0.3) await device.flush!(0);
      if (round % 4 === 0) expect(sameBytes(await readAll(device, 0, SIZE), model)).toBe(true);
    }
    await device.flush!(0);
    const again = await reopen();
    expect(sameBytes(await readAll(again, 0, SIZE), model)).toBe(true);
    await again[Symbol.asyncDispose]();
  });
});
