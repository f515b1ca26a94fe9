import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../core/util/random.ts';
import type { FakeBucket } from '../fake-store.ts';
import { KIB, MIB, pattern, readAll, sameBytes } from '../harness.ts';
import { newVolume, opened } from './disk.ts';

const FILE = 48 * KIB;
const FILES = 128;
/** Where files lie on the disk: apart from each other, in no order. */
const places = (seed: number): number[] =>
  shuffled(
    Array.from({ length: FILES }, (_, i) => i * 128 * KIB),
    seed,
  );

function shuffled(values: readonly number[], seed: number): number[] {
  const random = seededRandom(seed);
  return values
    .map((value) => ({ value, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ value }) => value);
}

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

  it('fetches along what was written at about the same time, in whichever order it is read', async () => {
    const written = places(1);
    const groups = Array.from({ length: FILES / 16 }, (_, i) => written.slice(16 * i, 16 * (i + 1)));
    const order = groups.flatMap((group, i) => shuffled(group, i));
    expect(await readIn(await withFiles(written), order, written)).toBeLessThan(FILES / 3);
  });

  it('stops fetching along what is not read', async () => {
    const bucket = await newVolume(256 * MIB);
    await using disk = await opened(bucket);
    for (let at = 0; at < 128 * MIB; at += MIB) await disk.device.write!(at, [pattern(MIB, at)], 0);
    await disk.device.flush!(0);
    await using again = await opened(bucket, {}, { readOnly: true });
    const random = seededRandom(3);
    for (let i = 0; i < 500; i++) {
      await readAll(again.device, Math.floor(random() * 32768) * 4 * KIB, 4 * KIB);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // Each takes a frame of 16 KiB; the first ones try 128 KiB.
    const received = again.store.requests.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(received).toBeLessThan(500 * 16 * KIB + 8 * MIB);
  });

  it('leaves reads alone that are in no order', async () => {
    const written = places(1);
    const bucket = await withFiles(written);
    const requests = await readIn(bucket, places(2), written);
    expect(requests).toBeGreaterThanOrEqual(FILES / 2);
    expect(requests).toBeLessThan(1.2 * FILES);
  });
});
