import { z } from 'zod';

/** One access pattern. Sequential jobs go round a file that is in the page cache: they measure the way, not the disk. */
export interface Job {
  readonly title: string;
  readonly rw: 'randread' | 'randwrite' | 'read' | 'write';
  /** Bytes per request. */
  readonly blockSize: number;
  readonly depth: number;
  /** How many times as fast as qemu-storage-daemon this has to be. */
  readonly target: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** On a file. */
export const JOBS: readonly Job[] = [
  { title: '4 KiB random read, QD1', rw: 'randread', blockSize: 4 * KIB, depth: 1, target: 1 },
  { title: '4 KiB random read, QD32', rw: 'randread', blockSize: 4 * KIB, depth: 32, target: 1.5 },
  { title: '4 KiB random write, QD1', rw: 'randwrite', blockSize: 4 * KIB, depth: 1, target: 1 },
  { title: '4 KiB random write, QD32', rw: 'randwrite', blockSize: 4 * KIB, depth: 32, target: 1.5 },
  { title: '1 MiB sequential read, QD1', rw: 'read', blockSize: MIB, depth: 1, target: 1 },
  { title: '1 MiB sequential read, QD8', rw: 'read', blockSize: MIB, depth: 8, target: 1 },
  { title: '1 MiB sequential write, QD1', rw: 'write', blockSize: MIB, depth: 1, target: 1 },
  { title: '1 MiB sequential write, QD8', rw: 'write', blockSize: MIB, depth: 8, target: 1 },
];

/** On an export of an NBD server; 0: told, and not judged. */
export const NBD_JOBS: readonly Job[] = JOBS.map((job) => ({
  ...job,
  target: job.blockSize === 4 * KIB && job.depth === 32 ? 0.8 : 0,
}));

/**
 * What both daemons serve before anything is measured. A number of requests, not a time: that is what makes a JIT
 * compiler compile, and on a busy machine under emulation it may take a minute.
 */
export const WARMUP: readonly (Job & { readonly requests: number })[] = [
  { ...JOBS[1]!, requests: 30_000 },
  { ...JOBS[3]!, requests: 30_000 },
  { ...JOBS[5]!, requests: 300 },
  { ...JOBS[7]!, requests: 300 },
];

/** `length`: seconds, after half a second that does not count; or a number of requests. */
export function fioCommand(
  job: Job,
  device: string,
  length: { readonly seconds: number } | { readonly requests: number },
): string {
  const { rw, blockSize, depth } = job;
  return [
    'fio --name=bench --ioengine=libaio --direct=1 --norandommap --output-format=json',
    `--filename=${device} --rw=${rw} --bs=${blockSize} --iodepth=${depth}`,
    'seconds' in length
      ? `--time_based --runtime=${length.seconds} --ramp_time=0.5`
      : `--number_ios=${length.requests} --io_size=${length.requests * blockSize}`,
  ].join(' ');
}

const direction = z.object({ iops: z.number(), total_ios: z.number() });
const report = z.object({
  jobs: z.array(z.object({ error: z.number(), read: direction, write: direction })).length(1),
});

/** Requests per second, and how many there were. Throws when fio saw an I/O error. */
export function parseFio(output: string): { readonly iops: number; readonly requests: number } {
  const job = report.parse(JSON.parse(output)).jobs[0]!;
  if (job.error !== 0) throw new Error(`fio saw error ${job.error}`);
  const { iops, total_ios: requests } = job.read.total_ios > 0 ? job.read : job.write;
  return { iops, requests };
}
