import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { tempFolder } from '../support/temp-folder.ts';
import { TARGETS } from './targets.ts';

const USAGE = `Usage: npm run fuzz -- [options]

Runs the parts that a guest, a server or a file can reach with input made up from seeds, until something is wrong.

  --target NAME    rings, messages, config or nbd (all of them, one after the other)
  --seconds N      how long, for all targets together (60)
  --runs N         how many runs of each target, instead of --seconds
  --seed N         seed of the first run; the next has N + 1 (made up)
  --help           print this
`;

const RUNNER = join(import.meta.dirname, 'runner.ts');
/** A run that takes longer hangs. */
const HANG_MS = 20_000;
const EXIT_FOUND = 1;
const EXIT_USAGE = 2;

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
  const targets = Object.keys(TARGETS).filter((name) => [undefined, name].includes(values.target));
  if (targets.length === 0) throw new UsageError(`There is no target "${values.target}".`);
  const seed = values.seed === undefined ? Date.now() : count('seed', values.seed);
  const runs = values.runs === undefined ? Number.POSITIVE_INFINITY : count('runs', values.runs);
  const seconds = values.runs === undefined ? count('seconds', values.seconds) : Number.POSITIVE_INFINITY;
  for (const name of targets) {
    const found = await fuzz(name, seed, runs, seconds / targets.length);
    if (found === undefined) continue;
    process.stderr.write(
      `${found.what}\nAgain with: npm run fuzz -- --target ${name} --seed ${found.seed} --runs 1\n`,
    );
    return EXIT_FOUND;
  }
  return 0;
}

/** Undefined: nothing was wrong. */
async function fuzz(
  name: string,
  seed: number,
  runs: number,
  seconds: number,
): Promise<{ what: string; seed: number } | undefined> {
  using folder = tempFolder();
  const note = folder.file('seed');
  const args = [RUNNER, name, seed, runs, seconds, note].map(String);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const watchdog = watch(child, note);
  const what = await new Promise<string | undefined>((resolve) => {
    child.once('exit', (code, signal) => {
      if (code === 0) resolve(undefined);
      else if (watchdog.hangs) resolve(`${name}: a run takes more than ${HANG_MS / 1000} s.`);
      // 13: the event loop has run empty, and a promise is still waited for.
      else resolve(code === 13 ? `${name}: a run never ends.` : `${name}: ended by ${signal ?? code}.`);
    });
  });
  watchdog[Symbol.dispose]();
  return what === undefined ? undefined : { what, seed: notedIn(note)[0] };
}

/** Ends the child when its runs do not go on. */
function watch(child: ChildProcess, note: string): Disposable & { readonly hangs: boolean } {
  let last = -1;
  let hangs = false;
  const timer = setInterval(() => {
    const [, done] = notedIn(note);
    hangs = done === last;
    if (hangs) child.kill('SIGKILL');
    last = done;
  }, HANG_MS);
  return {
    get hangs() {
      return hangs;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** The seed at work, and the number of runs before it. */
function notedIn(note: string): [seed: number, done: number] {
  if (!existsSync(note)) return [0, 0];
  const bytes = readFileSync(note);
  return bytes.length < 16 ? [0, 0] : [bytes.readDoubleLE(0), bytes.readDoubleLE(8)];
}

class UsageError extends Error {}

function count(option: string, text: string): number {
  const value = Number(text);
  if (text !== '' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new UsageError(`--${option} wants a number, not "${text}".`);
}

try {
  process.exitCode = await main();
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException;
  if (!(error instanceof UsageError) && !code?.startsWith('ERR_PARSE_ARGS')) throw error;
  process.stderr.write(`${message}\n\n${USAGE}`);
  process.exitCode = EXIT_USAGE;
}
