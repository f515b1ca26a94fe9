import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { MUTANTS } from './mutants.ts';
import { REGRESSIONS } from './regressions.ts';

const run = promisify(execFile);
const MAIN = new URL('main.ts', import.meta.url).pathname;
const TIMEOUT = 300_000;

/** In a process of its own: a simulation replaces time and chance. */
async function simulate(...args: string[]): Promise<{ readonly found: boolean; readonly output: string }> {
  try {
    return {
      found: false,
      output: (await run(process.execPath, [MAIN, ...args], { timeout: TIMEOUT })).stdout,
    };
  } catch (error) {
    const { code, stdout } = error as { code: unknown; stdout: string };
    if (code !== 1) throw error;
    return { found: true, output: stdout };
  }
}

const quietly = (...args: string[]) => simulate('--no-minimise', ...args);

describe('the simulation of the log', () => {
  it.concurrent.each([1, 1001])(
    'finds nothing in 1000 seeds from %i on',
    { timeout: TIMEOUT },
    async (from) => {
      const { output } = await simulate('--seeds', '1000', '--from', String(from));
      expect(output).toMatch(/^1000 seeds, 0 with problems/);
    },
  );

  it('repeats itself', async () => {
    const [first, second] = await Promise.all(
      [0, 1].map(() => simulate('--from', '7', '--seeds', '1', '--trace')),
    );
    const withoutTime = (output: string) => output.replace(/[\d.]+ s\n$/, '');
    expect(withoutTime(first!.output)).toBe(withoutTime(second!.output));
  });

  it.concurrent.each(REGRESSIONS)('keeps what it found: $options', { timeout: TIMEOUT }, async (run) => {
    const options = run.options.split(' ');
    expect((await quietly(...options)).found).toBe(false);
    if (run.mutant !== undefined)
      expect((await quietly(...options, '--mutant', run.mutant)).found).toBe(true);
  });

  it.concurrent('makes the first run that fails smaller, and says how to repeat and to keep it', {
    timeout: TIMEOUT,
  }, async () => {
    const mutant = ['--mutant', 'flush answered early'];
    const { found, output } = await simulate('--seeds', '5000', ...mutant);
    expect(found).toBe(true);
    const [, seed, story, options, entry] =
      /^seed (\d+): .*\n([\s\S]*)^npm run sim -- (.*) --trace --mutant 'flush answered early'\n.*\n([\s\S]*)^\d+ seeds/m.exec(
        output,
      ) as unknown as string[];
    expect(entry).toContain(`'${options}',\n    mutant: 'flush answered early',\n`);
    const whole = await simulate('--from', seed!, '--seeds', '1', '--trace', ...mutant);
    expect(story!.length).toBeLessThan(whole.output.length);
    const again = await simulate(...options!.split(' '), '--trace', ...mutant);
    expect(again.output.startsWith(story!)).toBe(true);
  });

  it.concurrent('minimises a seed that is named, and none when told so', { timeout: TIMEOUT }, async () => {
    const sound = await simulate('--minimise', '1');
    expect(sound).toEqual({ found: false, output: 'seed 1 has no problem\n' });
    const { output } = await quietly('--seeds', '5000', '--mutant', 'flush answered early');
    expect(output).toMatch(/^seed \d+: .*\n\d+ seeds, 1 with problems.*\n$/);
  });

  it.concurrent.each(MUTANTS)('finds within 5000 seeds: $name', { timeout: TIMEOUT }, async ({ name }) => {
    const { found, output } = await quietly('--seeds', '5000', '--mutant', name);
    expect(output).toContain('seed ');
    expect(found).toBe(true);
  });
});
