import type { Job } from './fio.ts';
import { type Summary, summarize } from './statistics.ts';

/** What one run of one job on one target gave. */
export interface Measurement {
  readonly iops: number;
  /** CPU time of the serving process per request, in microseconds. */
  readonly cpuPerRequest: number;
}

export interface JobResult {
  readonly job: Job;
  /** Same number, in pairs that ran one right after the other. */
  readonly blockgate: readonly Measurement[];
  readonly qemu: readonly Measurement[];
}

/** Of each pair, so that a machine that becomes slower meanwhile does not count. */
export function ratios({ blockgate, qemu }: JobResult): Summary {
  return summarize(blockgate.map((ours, i) => ours.iops / qemu[i]!.iops));
}

export function isOnTarget(result: JobResult): boolean {
  return ratios(result).median >= result.job.target;
}

const HEADER = [
  '| Job | blockgate | qemu-storage-daemon | ratio | target | CPU per request: blockgate | qemu-storage-daemon |',
  '|---|---|---|---|---|---|---|',
];

/** A Markdown table: medians, with the smallest and largest value in brackets. */
export function table(results: readonly JobResult[]): string {
  return [...HEADER, ...results.map(row)].join('\n');
}

function row(result: JobResult): string {
  const { job, blockgate, qemu } = result;
  const ratio = ratios(result);
  return `| ${[
    job.title,
    speed(job, blockgate),
    speed(job, qemu),
    `**${ratio.median.toFixed(2)}** [${ratio.min.toFixed(2)}..${ratio.max.toFixed(2)}]`,
    job.target === 0 ? '' : `≥ ${job.target} ${isOnTarget(result) ? 'met' : '**missed**'}`,
    cpu(blockgate),
    cpu(qemu),
  ].join(' | ')} |`;
}

/** Small requests by their number, large ones by their bytes. */
function speed(job: Job, measurements: readonly Measurement[]): string {
  const iops = measurements.map((measurement) => measurement.iops);
  if (job.blockSize < 2 ** 16) return format(summarize(iops), 'IOPS');
  return format(summarize(iops.map((value) => (value * job.blockSize) / 2 ** 20)), 'MiB/s');
}

function cpu(measurements: readonly Measurement[]): string {
  return `${summarize(measurements.map(({ cpuPerRequest }) => cpuPerRequest)).median.toFixed(0)} µs`;
}

function format({ median, min, max }: Summary, unit: string): string {
  return `${median.toFixed(0)} ${unit} [${min.toFixed(0)}..${max.toFixed(0)}]`;
}
