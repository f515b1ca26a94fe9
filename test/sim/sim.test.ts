import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { MUTANTS } from './mutants.ts';

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

  it.concurrent.each(MUTANTS)('finds within 5000 seeds: $name', { timeout: TIMEOUT }, async ({ name }) => {
    const { found, output } = await simulate('--seeds', '5000', '--mutant', name);
    expect(output).toContain('seed ');
    expect(found).toBe(true);
  });
});
