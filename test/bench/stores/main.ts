import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { ensureDebianPackages } from '../../../core/vm/debian-packages.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { count, positive } from '../numbers.ts';
import { loadBefore, putResult } from '../page.ts';
import { summarize } from '../statistics.ts';
import { type Contest, nbdContest, redisContest } from './contenders.ts';
import { JOBS, type StoreJob } from './jobs.ts';

const USAGE = `Usage: npm run bench:stores -- [options]

Compares the backends nbd and redis with other clients of the same servers, without a VM.
Ends with status 1 when a target is missed.

  --repetitions N   pairs of measurements per job (5)
  --seconds S       length of one measurement (2)
  --only TEXT       only the jobs whose title contains it
  --write           put the result into docs/benchmarks.md
`;
const CONTESTS = { nbd: nbdContest, redis: redisContest } as const;

interface Result {
  readonly job: StoreJob;
  readonly peer: string;
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      repetitions: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      only: { type: 'string', default: '' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const repetitions = count('repetitions', values.repetitions);
  const seconds = positive('seconds', values.seconds);
  const load = loadBefore(say);
  await ensureDebianPackages(['fio', 'nbdkit', 'redis-server', 'redis-tools'], say);
  const results: Result[] = [];
  for (const store of ['nbd', 'redis'] as const) {
    const jobs = JOBS.filter((job) => job.store === store && job.title.includes(values.only));
    if (jobs.length === 0) continue;
    using folder = tempFolder();
    await using contest = await CONTESTS[store](folder);
    for (const job of jobs) results.push(await compare(contest, job, repetitions, seconds));
  }
  const text = [
    `- Machine: ${cpus().length} × ${cpus()[0]!.model}; Node ${process.version}`,
    `- Runs: ${repetitions} pairs of ${seconds} s per job; load of the machine ${load} before`,
    '',
    '| Job | blockgate | peer | ratio | target |',
    '|---|---|---|---|---|',
    ...results.map(row),
  ].join('\n');
  process.stdout.write(`\n${text}\n`);
  if (values.write) await putResult('stores', text);
  return results.every(isOnTarget) ? 0 : 1;
}

async function compare(
  contest: Contest,
  job: StoreJob,
  repetitions: number,
  seconds: number,
): Promise<Result> {
  const [ours, theirs]: [number[], number[]] = [[], []];
  // JavaScript is compiled while it runs.
  await contest.ours(job, 1);
  for (let i = 0; i < repetitions; i++) {
    const first = async (): Promise<unknown> => ours.push(await contest.ours(job, seconds));
    const second = async (): Promise<unknown> => theirs.push(await contest.theirs(job, seconds));
    for (const measure of i % 2 === 0 ? [first, second] : [second, first]) await measure();
    say(`${job.title}: ${ours.at(-1)!.toFixed(0)} and ${theirs.at(-1)!.toFixed(0)} per second`);
  }
  return { job, peer: contest.peer, ours, theirs };
}

const ratios = ({ ours, theirs }: Result) => summarize(ours.map((value, i) => value / theirs[i]!));
const isOnTarget = (result: Result): boolean => ratios(result).median >= result.job.target;

function row(result: Result): string {
  const { job, peer, ours, theirs } = result;
  const show = (values: readonly number[]): string => {
    const { median, min, max } = summarize(values);
    return `${median.toFixed(0)}/s [${min.toFixed(0)}..${max.toFixed(0)}]`;
  };
  const { median, min, max } = ratios(result);
  const verdict = job.target === 0 ? '' : `≥ ${job.target} ${isOnTarget(result) ? 'met' : '**missed**'}`;
  const ratio = `**${median.toFixed(2)}** [${min.toFixed(2)}..${max.toFixed(2)}]`;
  return `| ${[job.title, show(ours), `${peer}: ${show(theirs)}`, ratio, verdict].join(' | ')} |`;
}

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

process.exitCode = await main();
