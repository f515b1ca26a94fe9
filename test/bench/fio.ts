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

export function fioCommand(job: Job, device: string, seconds: number): string {
  return [
    'fio --name=bench --ioengine=libaio --direct=1 --time_based --norandommap --output-format=json',
    `--filename=${device} --rw=${job.rw} --bs=${job.blockSize} --iodepth=${job.depth}`,
    `--runtime=${seconds} --ramp_time=0.5`,
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
