import { writeSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { RingsTarget } from './rings.ts';
import type { FuzzTarget } from './target.ts';

const USAGE = `Usage: npm run fuzz -- [options]

Runs the parts that a guest can reach with input made up from seeds, until something is wrong.

  --target NAME    rings, messages or config (all of them, one after the other)
  --seconds N      how long, for all targets together (60)
  --runs N         how many runs of each target, instead of --seconds
  --seed N         seed of the first run; the next has N + 1 (made up)
  --help           print this
`;

const TARGETS: readonly (() => FuzzTarget)[] = [() => new RingsTarget()];
/** A run that takes longer hangs. */
const HANG_SECONDS = 20;
const BATCH = 1000;

/** The seed at work and a count of runs, where the watchdog sees them although this thread hangs. */
const pulse = new Float64Array(new SharedArrayBuffer(16));

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      target: { type: 'string' },
      seconds: { type: 'string', default: '60' },
      runs: { type: 'string' },
      seed: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const targets = TARGETS.map((make) => make()).filter(({ name }) =>
    [undefined, name].includes(values.target),
  );
  if (targets.length === 0) throw new UsageError(`There is no target "${values.target}".`);
  const seed = values.seed === undefined ? Date.now() : count('seed', values.seed);
  // Most runs make errors, whose stacks cost more than all the rest. A single run is there to be looked at.
  if (values.runs !== '1') Error.stackTraceLimit = 0;
  const runs = values.runs === undefined ? Number.POSITIVE_INFINITY : count('runs', values.runs);
  const seconds = values.runs === undefined ? count('seconds', values.seconds) : Number.POSITIVE_INFINITY;
  for (const target of targets) if (!(await fuzz(target, seed, runs, seconds / targets.length))) return 1;
  return 0;
}

/** False: a run found something. */
async function fuzz(target: FuzzTarget, first: number, runs: number, seconds: number): Promise<boolean> {
  const watchdog = startWatchdog(target.name);
  const start = performance.now();
  let done = 0;
  let reported = 0;
  try {
    while (done < runs) {
      for (const end = Math.min(runs, done + BATCH); done < end; done++) {
        pulse[0] = first + done;
        pulse[1] = done;
        const pending = target.run(first + done);
        if (pending !== undefined) await pending;
      }
      const elapsed = (performance.now() - start) / 1000;
      if (elapsed >= seconds) break;
      if (elapsed - reported >= 10) {
        reported = elapsed;
        report(target, first, done, elapsed);
      }
      // Promises that nobody waits for show their rejection.
      await new Promise((resolve) => setImmediate(resolve));
    }
  } catch (error) {
    process.stderr.write(
      `${(error as Error).stack ?? String(error)}\n\n${replay(target.name, first + done)}\n`,
    );
    return false;
  } finally {
    await watchdog.terminate();
  }
  report(target, first, done, (performance.now() - start) / 1000);
  return true;
}

function report(target: FuzzTarget, seed: number, runs: number, seconds: number): void {
  const reached = Object.entries(target.reached()).map(([what, times]) => `${times} ${what}`);
  process.stdout.write(
    `${target.name}: ${runs} runs from seed ${seed} in ${seconds.toFixed(1)} s, ${Math.round(runs / seconds)}/s; ${reached.join(', ')}\n`,
  );
}

const replay = (target: string, seed: number): string =>
  `Again with: npm run fuzz -- --target ${target} --seed ${seed} --runs 1`;

/** Ends the process with the seed when a run takes too long: nothing else can, from a thread that hangs. */
function startWatchdog(target: string): Worker {
  return new Worker(new URL('watchdog.ts', import.meta.url), {
    workerData: { pulse, seconds: HANG_SECONDS, message: replay(target, Number.NaN) },
  });
}

class UsageError extends Error {}

function count(option: string, text: string): number {
  const value = Number(text);
  if (text !== '' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new UsageError(`--${option} wants a number, not "${text}".`);
}

process.on('unhandledRejection', (error) => {
  writeSync(2, `a rejection that nobody handles, about seed ${pulse[0]}: ${String(error)}\n`);
  process.exit(1);
});
try {
  process.exitCode = await main();
} catch (error) {
  if (
    !(error instanceof UsageError) &&
    (error as NodeJS.ErrnoException).code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION'
  )
    throw error;
  process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
  process.exitCode = 2;
}
