import { type Summary, summarize } from '../statistics.ts';
import type { RingJob } from './jobs.ts';

/** What one run of driver.c gave. */
export interface RingMeasurement {
  readonly iops: number;
  /** Latency in microseconds. */
  readonly p50: number;
  readonly p99: number;
  /** CPU time of the device's process per request, in microseconds. */
  readonly cpuPerRequest: number;
}

export interface RingResult {
  readonly job: RingJob;
  /** Same number, in pairs that ran one right after the other. */
  readonly ours: readonly RingMeasurement[];
  readonly reference: readonly RingMeasurement[];
}

export function isOnTarget(result: RingResult): boolean {
  const { measure, target } = result.job;
  const { median } = ratios(result);
  return measure === 'iops' ? median >= target : median <= target;
}

const HEADER = [
  '| Job | blockgate | C | ratio | target | p50, p99: blockgate | C | CPU per request: blockgate | C | ratio |',
  '|---|---|---|---|---|---|---|---|---|---|',
];

/** A Markdown table: medians, with the smallest and largest value in brackets; latencies and CPU in microseconds. */
export function table(results: readonly RingResult[]): string {
  return [...HEADER, ...results.map(row)].join('\n');
}

/** Of each pair, so that a machine that becomes slower meanwhile does not count. */
function ratios({ job: { measure }, ours, reference }: RingResult): Summary {
  const value = ({ iops, p50 }: RingMeasurement): number => (measure === 'iops' ? iops : p50);
  return summarize(ours.map((run, i) => value(run) / value(reference[i]!)));
}

function row(result: RingResult): string {
  const { job, ours, reference } = result;
  const { median, min, max } = ratios(result);
  const target = job.measure === 'iops' ? `≥ ${job.target}` : `p50 ≤ ${job.target}`;
  const cpu = summarize(ours.map((run, i) => run.cpuPerRequest / reference[i]!.cpuPerRequest)).median;
  return `| ${[
    job.title,
    speed(job, ours),
    speed(job, reference),
    `**${median.toFixed(2)}** [${min.toFixed(2)}..${max.toFixed(2)}]`,
    `${target} ${isOnTarget(result) ? 'met' : '**missed**'}`,
    latencies(ours),
    latencies(reference),
    middle(ours, 'cpuPerRequest'),
    middle(reference, 'cpuPerRequest'),
    cpu.toFixed(2),
  ].join(' | ')} |`;
}

/** Small requests by their number, large ones by their bytes. */
function speed({ blockSize }: RingJob, runs: readonly RingMeasurement[]): string {
  const small = blockSize < 2 ** 16;
  const { median, min, max } = summarize(
    runs.map(({ iops }) => (small ? iops / 1000 : (iops * blockSize) / 2 ** 20)),
  );
  return `${median.toFixed(0)} ${small ? 'k' : 'MiB/s'} [${min.toFixed(0)}..${max.toFixed(0)}]`;
}

function latencies(runs: readonly RingMeasurement[]): string {
  return `${middle(runs, 'p50')}, ${middle(runs, 'p99')}`;
}

function middle(runs: readonly RingMeasurement[], key: 'p50' | 'p99' | 'cpuPerRequest'): string {
  const { median } = summarize(runs.map((run) => run[key]));
  return median.toFixed(median < 10 ? 2 : 0);
}
