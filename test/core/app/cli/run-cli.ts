import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../../../core/app/cli/main.ts', import.meta.url));

export interface CliResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line in a process of its own. */
export class CliProcess {
  readonly ended: Promise<CliResult>;
  readonly pid: number;
  stdout = '';
  stderr = '';

  constructor(args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
    const child = spawn(process.execPath, [MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
    });
    this.pid = child.pid!;
    child.stdout.on('data', (data) => (this.stdout += String(data)));
    child.stderr.on('data', (data) => (this.stderr += String(data)));
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (status, signal) =>
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr }),
      );
    });
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }
}

export function cli(
  args: readonly string[],
  options?: ConstructorParameters<typeof CliProcess>[1],
): Promise<CliResult> {
  return new CliProcess(args, options).ended;
}
