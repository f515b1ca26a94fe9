import { join } from 'node:path';
import {
  BLOCK,
  fill,
  GIB,
  type Lengths,
  MIB,
  type Row,
  rate,
  someBlock,
  TIB,
  time,
  withDisk,
  withFolder,
} from '../measure.ts';

const flushed =
  (latency: number, lanes: number, options: Record<string, unknown> = {}) =>
  ({ seconds }: Lengths) =>
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

const journaled = (lanes: number) => (lengths: Lengths) =>
  withFolder((folder) => {
    const journal = { path: join(folder, 'journal'), size: '1GiB' };
    return flushed(20, lanes, { flush: 'local', journal, writeBuffer: '256MiB' })(lengths);
  });

const flushing = (
  title: string,
  latency: number,
  lanes: number,
  target: number,
  goal: number,
  more: Partial<Row> = {},
): Row => ({
  what: `${title}, ${latency} ms`,
  unit: 'IOPS',
  target,
  goal,
  measure: flushed(latency, lanes),
  ...more,
});

export const WRITING: readonly Row[] = [
  flushing('P1 4 KiB write + flush, QD1', 20, 1, 42, 47, { hasPeer: true }),
  flushing('P2 4 KiB write + flush, QD1', 50, 1, 18, 19.3),
  flushing('P3 4 KiB write + flush, 64 jobs', 20, 64, 2400, 2800),
  flushing('P3 4 KiB write + flush, 64 jobs', 50, 64, 950, 1120),
  flushing('P4 4 KiB write + flush, 512 jobs', 20, 512, 15_000, 20_000),
  flushing('P4 4 KiB write + flush, 512 jobs', 50, 512, 7000, 8500),
  {
    what: 'P5 4 KiB write, QD32, flush every second, 50 ms',
    unit: 'IOPS',
    target: 60_000,
    goal: 150_000,
    measure: ({ seconds }) =>
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
  {
    what: 'P6 4 KiB write + flush, QD1, journal',
    unit: 'IOPS',
    target: 8000,
    goal: 20_000,
    measure: journaled(1),
  },
  {
    what: 'P7 4 KiB write + flush, 64 jobs, journal',
    unit: 'IOPS',
    target: 40_000,
    goal: 100_000,
    measure: journaled(64),
  },
  {
    what: 'P10 1 MiB sequential write, QD8, 20 ms',
    unit: 'MiB/s',
    target: 257,
    goal: 3072,
    hasPeer: true,
    measure: ({ seconds }) =>
      withDisk(20, 64 * GIB, async (device) => {
        let at = 0;
        const iov = [Buffer.alloc(MIB, 0x5a)];
        const result = await rate(8, seconds, () => device.write!(MIB * at++, iov, 0));
        await device.flush!(0);
        return result;
      }),
  },
  {
    what: 'P23 discard of 2 TiB, with its flush, 50 ms',
    unit: 'ms',
    target: 1000,
    goal: 60,
    isMost: true,
    hasPeer: true,
    measure: () =>
      withDisk(50, 2 * TIB, async (device) => {
        await fill(device, 16 * MIB);
        return time(async () => {
          await device.discard!(0, 2 * TIB, 0);
          await device.flush!(0);
        });
      }),
  },
];
