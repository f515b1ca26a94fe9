import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BlockDevice } from '../../../core/plugin.ts';
import { Rig } from './rig.ts';

export const KIB = 1024;
export const MIB = KIB * KIB;
export const GIB = KIB * MIB;
export const TIB = KIB * GIB;
export const BLOCK = 4 * KIB;

/** How long measurements take. Seconds. */
export interface Lengths {
  /** One where a rate is measured. */
  readonly seconds: number;
  /** For so long the store is away. */
  readonly outage: number;
}

/** One line of the table. */
export interface Row {
  readonly what: string;
  readonly unit: string;
  /** What it has to reach at least (or at most). */
  readonly target: number;
  /** What nobody has reached yet. */
  readonly goal: number;
  readonly isMost?: true;
  /** Another program is measured at the same. */
  readonly hasPeer?: true;
  readonly measure: (lengths: Lengths) => Promise<number>;
}

export async function withDisk<T>(
  latency: number,
  size: number,
  use: (device: BlockDevice, rig: Rig) => Promise<T>,
  options: Record<string, unknown> = {},
): Promise<T> {
  await using rig = await Rig.start(latency);
  const config = await rig.create(size, options);
  const device = await rig.open(config);
  try {
    rig.reset();
    return await use(device, rig);
  } finally {
    await device[Symbol.asyncDispose]();
  }
}

/** With a folder on the disk of temporary files. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'blockgate-bench-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Calls `run` in `lanes` lanes for so long; returns how often per second it was done. */
export async function rate(lanes: number, seconds: number, run: (lane: number) => unknown): Promise<number> {
  let [done, counts, over] = [0, 0, false];
  const lane = async (number: number): Promise<void> => {
    while (!over) {
      await run(number);
      done += counts;
      // Requests that end at once would leave no time to anybody else.
      if (done % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const all = Array.from({ length: lanes }, (_, i) => lane(i));
  await delay(500);
  counts = 1;
  const start = performance.now();
  await delay(seconds * 1000);
  const took = (performance.now() - start) / 1000;
  const result = done / took;
  over = true;
  await Promise.all(all);
  return result;
}

/** Milliseconds of `run`. */
export async function time(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

export const someBlock = (size: number): number => Math.floor((Math.random() * size) / BLOCK) * BLOCK;

/** Writes the first bytes of a disk, in order, and flushes them. */
export async function fill(device: BlockDevice, bytes: number): Promise<void> {
  const iov = [Buffer.alloc(MIB, 0x5a)];
  for (let at = 0; at < bytes; at += MIB) {
    await device.write!(at, iov, 0);
    if (at % (16 * MIB) === 0) await delay(0);
  }
  await device.flush!(0);
}
