import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { parseArgs } from 'node:util';
import { ensureDebianPackages } from '../../../core/vm/debian-packages.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { positive } from '../numbers.ts';
import { loadBefore, putResult } from '../page.ts';
import { measureHeap } from './heap.ts';
import { RING_JOBS, type RingJob } from './jobs.ts';
import { type DeviceUnderTest, type Lengths, type Programs, preparePrograms, runDriver } from './programs.ts';
import { isOnTarget, type RingMeasurement, type RingResult, table } from './report.ts';

const USAGE = `Usage: npm run bench:ring -- [options]

Compares the block queue on the file backend with a minimal device in C: same ring, same file, same driver.
Ends with status 1 when a target is missed.

  --repetitions N   pairs of measurements per job (5)
  --seconds S       length of one measurement (2)
  --warmup MIB      what is transferred before that, 400 000 requests at most (4096)
  --only TEXT       only the jobs whose title contains it
  --write           put the result into docs/benchmarks.md
  --verify          measure nothing: check what is read and written, with both devices
  --heap            measure what 10 million requests leave on the heap instead
`;
const SIZE = 256 * 2 ** 20;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      repetitions: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      warmup: { type: 'string', default: '4096' },
      only: { type: 'string', default: '' },
      write: { type: 'boolean', default: false },
      verify: { type: 'boolean', default: false },
      heap: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (values.heap) return measureHeap();
  const repetitions = positive('repetitions', values.repetitions);
  const lengths = {
    seconds: positive('seconds', values.seconds),
    warmup: positive('warmup', values.warmup),
  };
  const jobs = RING_JOBS.filter(({ title }) => title.includes(values.only));
  await ensureDebianPackages(['gcc', 'libc6-dev'], say);
  using folder = tempFolder();
  const programs = await preparePrograms(folder.path, SIZE);
  if (values.verify) return await verify(programs, jobs, lengths);
  const before = loadBefore(say);
  const results: RingResult[] = [];
  for (const job of jobs) results.push(await compare(programs, job, repetitions, lengths));
  const text = [
    `- Machine: ${availableParallelism()} × ${cpus()[0]!.model}, Linux ${release()}, Node ${process.version}`,
    `- Runs: ${repetitions} pairs of ${lengths.seconds} s per job; load of the machine ${before} before, ${load()} at the end`,
    '',
    table(results),
  ].join('\n');
  process.stdout.write(`\n${text}\n`);
  if (values.write) await putResult('bench:ring', text);
  return results.every(isOnTarget) ? 0 : 1;
}

async function compare(
  programs: Programs,
  job: RingJob,
  repetitions: number,
  lengths: Lengths,
): Promise<RingResult> {
  const result = { job, ours: [] as RingMeasurement[], reference: [] as RingMeasurement[] };
  for (let i = 0; i < repetitions; i++) {
    // Who goes first changes, so that neither always finds what the other one left behind.
    const order: DeviceUnderTest[] = i % 2 === 0 ? ['ours', 'reference'] : ['reference', 'ours'];
    for (const which of order) {
      const run = await runDriver(programs, job, which, lengths);
      result[which].push(run);
      const { iops, p50, cpuPerRequest } = run;
      say(
        `${job.title}: ${which} ${iops.toFixed(0)} IOPS, p50 ${p50.toFixed(1)} µs, CPU ${cpuPerRequest.toFixed(2)} µs`,
      );
    }
  }
  return result;
}

/** Reads first: writes replace what the reads expect. */
async function verify(programs: Programs, jobs: readonly RingJob[], lengths: Lengths): Promise<number> {
  for (const kind of ['read', 'write']) {
    for (const job of jobs.filter(({ rw }) => rw.endsWith(kind))) {
      for (const which of ['ours', 'reference'] as const) {
        await runDriver(programs, job, which, lengths, true);
        say(`${job.title}: ${which}: verified`);
      }
    }
  }
  return 0;
}

function load(): string {
  return loadavg()[0]!.toFixed(1);
}

function say(line: string): void {
  process.stderr.write(`bench:ring: ${line}\n`);
}

process.exitCode = await main();
