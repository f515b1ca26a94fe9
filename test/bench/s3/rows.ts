import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BlockDevice } from '../../../core/plugin.ts';
import { secondBoot } from './boot.ts';
import { Rig } from './rig.ts';
import { sizeRatio } from './sizes.ts';

const KIB = 1024;
const MIB = KIB * KIB;
const GIB = KIB * MIB;
const TIB = KIB * GIB;
const BLOCK = 4 * KIB;

/** One line of the table. */
export interface Row {
  readonly what: string;
  readonly unit: string;
  /** What it has to reach at least (or at most). */
  readonly floor: number;
  readonly isMost?: true;
  readonly measure: (seconds: number) => Promise<number>;
}

async function withDisk<T>(
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

/** Calls `run` in `lanes` lanes for so long; returns how often per second it was done. */
async function rate(lanes: number, seconds: number, run: (lane: number) => unknown): Promise<number> {
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

const someBlock = (size: number): number => Math.floor((Math.random() * size) / BLOCK) * BLOCK;

const flushed =
  (latency: number, lanes: number, options: Record<string, unknown> = {}) =>
  (seconds: number) =>
    withDisk(
      latency,
      GIB,
      (device) => {
        const iov = [new Uint8Array(BLOCK).fill(1)];
        return rate(lanes, seconds, async () => {
          await device.write!(someBlock(GIB), iov, 0);
          await device.flush!(0);
        });
      },
      options,
    );

/** With a journal on the disk of temporary files. */
const journaled = (lanes: number) => async (seconds: number) => {
  const folder = await mkdtemp(join(tmpdir(), 'blockgate-bench-'));
  try {
    const journal = { path: join(folder, 'journal'), size: '1GiB' };
    return await flushed(20, lanes, { flush: 'local', journal, writeBuffer: '256MiB' })(seconds);
  } finally {
    await rm(folder, { recursive: true });
  }
};

async function fill(device: BlockDevice, bytes: number): Promise<void> {
  const iov = [Buffer.alloc(MIB, 0x5a)];
  for (let at = 0; at < bytes; at += MIB) {
    await device.write!(at, iov, 0);
    if (at % (16 * MIB) === 0) await delay(0);
  }
  await device.flush!(0);
}

/** Milliseconds of `run`. */
async function time(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

const coldReads = (lanes: number) => async (seconds: number) => {
  await using rig = await Rig.start(20);
  const config = await rig.create(GIB, { maxRequests: 256, readCache: '1MiB' });
  const writer = await rig.open(config);
  await fill(writer, 256 * MIB);
  await writer[Symbol.asyncDispose]();
  const device = await rig.open(config);
  const result = await rate(lanes, seconds, () =>
    device.read(someBlock(256 * MIB), [new Uint8Array(BLOCK)], 0),
  );
  await device[Symbol.asyncDispose]();
  return result;
};

/** Of a disk of 1 TiB on which `objects` objects were written, without a clean end. */
const takeover = (objects: number, clean: boolean) => async () => {
  await using rig = await Rig.start(20);
  const config = await rig.create(TIB, { maxRequests: 64 });
  const first = await rig.open(config);
  const iov = [new Uint8Array(BLOCK).fill(1)];
  for (let done = 0; done < objects; done += 6) {
    await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        await delay(i * 4);
        await first.write!(someBlock(TIB), iov, 0);
        await first.flush!(0);
      }),
    );
  }
  if (clean) await first[Symbol.asyncDispose]();
  let second: BlockDevice;
  const took = await time(async () => {
    second = await rig.open(config, true);
    await second.read(0, [new Uint8Array(BLOCK)], 0);
  });
  await second![Symbol.asyncDispose]();
  if (!clean) await first[Symbol.asyncDispose]();
  return took;
};

export const ROWS: readonly Row[] = [
  { what: 'P1 4 KiB write + flush, QD1, 20 ms', unit: 'IOPS', floor: 42, measure: flushed(20, 1) },
  { what: 'P2 4 KiB write + flush, QD1, 50 ms', unit: 'IOPS', floor: 18, measure: flushed(50, 1) },
  { what: 'P3 4 KiB write + flush, 64 jobs, 20 ms', unit: 'IOPS', floor: 2400, measure: flushed(20, 64) },
  { what: 'P3 4 KiB write + flush, 64 jobs, 50 ms', unit: 'IOPS', floor: 950, measure: flushed(50, 64) },
  { what: 'P4 4 KiB write + flush, 512 jobs, 20 ms', unit: 'IOPS', floor: 15_000, measure: flushed(20, 512) },
  { what: 'P4 4 KiB write + flush, 512 jobs, 50 ms', unit: 'IOPS', floor: 7000, measure: flushed(50, 512) },
  {
    what: 'P5 4 KiB write, QD32, flush every second, 50 ms',
    unit: 'IOPS',
    floor: 60_000,
    measure: (seconds) =>
      withDisk(50, GIB, async (device) => {
        const iov = [new Uint8Array(BLOCK).fill(1)];
        const timer = setInterval(() => void Promise.resolve(device.flush!(0)).catch(() => undefined), 1000);
        try {
          return await rate(32, seconds, () => device.write!(someBlock(GIB), iov, 0));
        } finally {
          clearInterval(timer);
          await device.flush!(0);
        }
      }),
  },
  { what: 'P6 4 KiB write + flush, QD1, journal', unit: 'IOPS', floor: 8000, measure: journaled(1) },
  { what: 'P7 4 KiB write + flush, 64 jobs, journal', unit: 'IOPS', floor: 40_000, measure: journaled(64) },
  { what: 'P8 4 KiB read, cold, QD32, 20 ms', unit: 'IOPS', floor: 1400, measure: coldReads(32) },
  { what: 'P8 4 KiB read, cold, QD256, 20 ms', unit: 'IOPS', floor: 9000, measure: coldReads(256) },
  {
    what: 'P10 1 MiB sequential write, QD8, 20 ms',
    unit: 'MiB/s',
    floor: 257,
    measure: (seconds) =>
      withDisk(20, 64 * GIB, async (device) => {
        let at = 0;
        const iov = [Buffer.alloc(MIB, 0x5a)];
        const result = await rate(8, seconds, () => device.write!(MIB * at++, iov, 0));
        await device.flush!(0);
        return result;
      }),
  },
  {
    what: 'P11 1 MiB sequential read, cold, 20 ms',
    unit: 'MiB/s',
    floor: 272,
    measure: async (seconds) => {
      await using rig = await Rig.start(20);
      const config = await rig.create(64 * GIB, { maxRequests: 64, readCache: '64MiB' });
      const writer = await rig.open(config);
      await fill(writer, 512 * MIB);
      await writer[Symbol.asyncDispose]();
      const device = await rig.open(config);
      let at = 0;
      const result = await rate(1, seconds, () => device.read((at++ % 512) * MIB, [new Uint8Array(MIB)], 0));
      await device[Symbol.asyncDispose]();
      return result;
    },
  },
  {
    what: 'P12 PUTs per GiB written',
    unit: 'PUTs',
    floor: 40,
    isMost: true,
    measure: () =>
      withDisk(20, 64 * GIB, async (device, rig) => {
        await fill(device, GIB);
        return rig.requests.put;
      }),
  },
  {
    what: 'P13 PUTs per flush, QD1',
    unit: 'PUTs',
    floor: 1.03,
    isMost: true,
    measure: () =>
      withDisk(1, GIB, async (device, rig) => {
        for (let i = 0; i < 1000; i++) {
          await device.write!(someBlock(GIB), [new Uint8Array(BLOCK).fill(1)], 0);
          await device.flush!(0);
        }
        return rig.requests.put / 1000;
      }),
  },
  {
    what: 'P15 requests of an idle disk, in 10 s',
    unit: 'requests',
    floor: 0,
    isMost: true,
    measure: () =>
      withDisk(1, GIB, async (device, rig) => {
        await device.write!(0, [new Uint8Array(BLOCK)], 0);
        await device.flush!(0);
        await delay(3000);
        rig.reset();
        await delay(10_000);
        return rig.total;
      }),
  },
  {
    what: 'P19 attach after a clean end, 1 TiB, 20 ms',
    unit: 'ms',
    floor: 400,
    isMost: true,
    measure: takeover(6, true),
  },
  {
    what: 'P20 recovery, 250 objects, 20 ms',
    unit: 'ms',
    floor: 1000,
    isMost: true,
    measure: takeover(250, false),
  },
  {
    what: 'P21 takeover from a living gateway, 20 ms',
    unit: 'ms',
    floor: 1000,
    isMost: true,
    measure: takeover(12, false),
  },
  {
    what: 'P22 PUTs of a snapshot, after a write',
    unit: 'PUTs',
    floor: 3,
    isMost: true,
    measure: () =>
      withDisk(1, GIB, async (device, rig) => {
        await fill(device, 16 * MIB);
        await device.write!(0, [new Uint8Array(BLOCK).fill(1)], 0);
        rig.reset();
        await device.snapshot!('one');
        return rig.requests.put;
      }),
  },
  {
    what: 'P23 discard of 2 TiB, with its flush, 50 ms',
    unit: 'ms',
    floor: 1000,
    isMost: true,
    measure: () =>
      withDisk(50, 2 * TIB, async (device) => {
        await fill(device, 16 * MIB);
        return time(async () => {
          await device.discard!(0, 2 * TIB, 0);
          await device.flush!(0);
        });
      }),
  },
  {
    what: 'P26 second boot, 130 MiB with a boot profile, 20 ms',
    unit: 's',
    floor: 6.5,
    isMost: true,
    measure: secondBoot,
  },
  ...(['attach', 'snapshot', 'clone', 'resize'] as const).map((name) => ({
    what: `${name} of 1 TiB in use, for that of 1 GiB, 20 ms`,
    unit: 'times',
    floor: 1.2,
    isMost: true as const,
    measure: sizeRatio(name),
  })),
];
