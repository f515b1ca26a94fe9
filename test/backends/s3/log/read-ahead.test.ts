import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../core/util/random.ts';
import type { FakeBucket } from '../fake-store.ts';
import { KIB, MIB, pattern, readAll, sameBytes } from '../harness.ts';
import { newVolume, opened } from './disk.ts';

const FILE = 48 * KIB;
const FILES = 128;
/** Where files lie on the disk: apart from each other, in no order. */
const places = (seed: number): number[] => {
  const random = seededRandom(seed);
  return Array.from({ length: FILES }, (_, i) => i)
    .map((i) => ({ at: i * 128 * KIB, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ at }) => at);
};

/** A disk with files that were written in this order. */
async function withFiles(order: readonly number[]): Promise<FakeBucket> {
  const bucket = await newVolume(64 * MIB);
  await using disk = await opened(bucket);
  for (const [i, at] of order.entries()) await disk.device.write!(at, [pattern(FILE, i)], 0);
  await disk.device.flush!(0);
  return bucket;
}

/** Reads all files in this order; what the store had to send for it. */
async function readIn(bucket: FakeBucket, order: readonly number[], written: readonly number[]) {
  await using disk = await opened(bucket, {}, { readOnly: true });
  for (const at of order) {
    expect(sameBytes(await readAll(disk.device, at, FILE), pattern(FILE, written.indexOf(at)))).toBe(true);
    // What is fetched ahead arrives.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return disk.store.count('read', '/log/');
}

describe('reading ahead', () => {
  it('follows the order in which an object was written, whatever that is on the disk', async () => {
    const order = places(1);
    expect(await readIn(await withFiles(order), order, order)).toBeLessThan(FILES / 4);
  });

  it('leaves reads alone that are in no order', async () => {
    const written = places(1);
    const bucket = await withFiles(written);
    const requests = await readIn(bucket, places(2), written);
    expect(requests).toBeGreaterThanOrEqual(FILES / 2);
    expect(requests).toBeLessThan(1.2 * FILES);
  });
});
