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
    return { found: false, output: (await run(process.execPath, [MAIN, ...args])).stdout };
  } catch (error) {
    const { code, stdout } = error as { code: unknown; stdout: string };
    if (code !== 1) throw error;
    return { found: true, output: stdout };
  }
}

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
    expect((await simulate(...options)).found).toBe(false);
    if (run.mutant !== undefined)
      expect((await simulate(...options, '--mutant', run.mutant)).found).toBe(true);
  });

  it('makes a run that fails smaller, and says how to repeat it', { timeout: TIMEOUT }, async () => {
    const mutant = ['--mutant', 'flush answered early'];
    const seed = /seed (\d+)/.exec((await simulate('--seeds', '5000', ...mutant)).output)![1]!;
    const whole = await simulate('--from', seed, '--seeds', '1', '--trace', ...mutant);
    const { found, output } = await simulate('--minimise', seed, ...mutant);
    expect(found).toBe(true);
    const lines = output.trimEnd().split('\n');
    expect(lines.length).toBeLessThan(whole.output.split('\n').length / 2);
    const options = /^npm run sim -- (.*) --mutant 'flush answered early'$/.exec(lines.at(-1)!)![1]!;
    const again = await simulate(...options.split(' '), ...mutant);
    expect(again.output.split('\n').slice(0, lines.length - 1)).toEqual(lines.slice(0, -1));
  });

  it.concurrent.each(MUTANTS)('finds within 5000 seeds: $name', { timeout: TIMEOUT }, async ({ name }) => {
    const { found, output } = await simulate('--seeds', '5000', '--mutant', name);
    expect(output).toContain('seed ');
    expect(found).toBe(true);
  });
});
