import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { FuzzTarget } from './target.ts';
import { TARGETS } from './targets.ts';

/**
 * What `npm run fuzz` once found, and some runs that nobody has seen yet; the long ones are for the command. A seed
 * means what the generator makes of it: whoever changes that keeps the lesson as a test of its own.
 */

interface Found {
  readonly target: string;
  readonly seed: number;
  /** What was wrong. */
  readonly note: string;
}

const CORPUS = join(import.meta.dirname, 'corpus');
const corpus = globSync('*.json', { cwd: CORPUS }).map(
  (file) => JSON.parse(readFileSync(join(CORPUS, file), 'utf8')) as Found,
);
/** Runs of each target, so that all of them take some seconds together. */
const RUNS: Readonly<Record<string, number>> = {
  rings: 18_000,
  messages: 1_500,
  config: 500,
  nbd: 5_000,
  'nbd-server': 5_000,
};
const FIRST_SEED = 7_000_000;

const made = new Map<string, FuzzTarget>();
function target(name: string): FuzzTarget {
  const found = made.get(name) ?? TARGETS[name]!();
  made.set(name, found);
  return found;
}

async function run(name: string, seed: number): Promise<void> {
  try {
    await target(name).run(seed);
  } catch (cause) {
    throw new Error(`npm run fuzz -- --target ${name} --seed ${seed} --runs 1`, { cause });
  }
}

afterAll(() => {
  for (const each of made.values()) each[Symbol.dispose]();
});

describe('what a fuzzer has found', () => {
  it.each(corpus.map(({ target: name, seed, note }) => [note, name, seed] as const))(
    'stays mended: %s',
    async (_note, name, seed) => {
      await run(name, seed);
    },
  );
});

describe.each(Object.entries(RUNS))('the fuzzer of %s', (name, runs) => {
  it(`finds nothing in ${runs} runs`, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + runs; seed++) await run(name, seed);
    // One that reaches nothing finds nothing.
    for (const [what, times] of Object.entries(target(name).reached()))
      if (what !== 'taken away') expect(times, what).toBeGreaterThan(0);
  });

  it('does the same for the same seed', async () => {
    const again = TARGETS[name]!();
    const reached = async (of: FuzzTarget): Promise<object> => {
      const before = { ...of.reached() };
      for (let seed = 1; seed <= 50; seed++) await of.run(seed);
      return Object.fromEntries(Object.entries(of.reached()).map(([what, n]) => [what, n - before[what]!]));
    };
    try {
      expect(await reached(again)).toEqual(await reached(target(name)));
    } finally {
      again[Symbol.dispose]();
    }
  });
});
