import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MAIN = join(import.meta.dirname, '..', '..', 'core', 'app', 'cli', 'main.ts');

export interface CliResult {
  readonly exitCode: number;
  /** stdout and stderr, one after the other. */
  readonly output: string;
}

/** Runs blockgate on this machine, in a folder of its own with a plugins.json of these disks. */
export async function blockgate(
  disks: object,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CliResult> {
  const folder = await mkdtemp(join(tmpdir(), 'blockgate-cli-'));
  try {
    await writeFile(join(folder, 'plugins.json'), JSON.stringify({ version: 1, disks }));
    return await new Promise((resolve) => {
      const options = { cwd: folder, env: { ...process.env, NO_COLOR: '1', ...env }, timeout: 120_000 };
      execFile(process.execPath, [MAIN, ...args], options, (error, stdout, stderr) => {
        const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ exitCode, output: `${stdout}${stderr}` });
      });
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
