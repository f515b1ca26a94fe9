import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';

const STOP_TIMEOUT_MS = 2_000;

/** Killed at once, in case this process ends without having stopped them. */
const running = new Set<ChildProcess>();

/**
 * A process that serves one VM. It never outlives this one: the kernel kills it when the thread that started it ends
 * (prctl PR_SET_PDEATHSIG, set by setpriv of util-linux), however that came about.
 */
export class HostProcess implements AsyncDisposable {
  readonly name: string;
  /** Resolves when the process has ended and its output was read, with what ended it. Never rejects. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  #output = '';
  #alive = true;

  /** With `terminal` the process shares the user's terminal and its job; else it has no part in either. */
  constructor(name: string, argv: readonly string[], options: { readonly terminal?: boolean } = {}) {
    this.name = name;
    const terminal = options.terminal ?? false;
    const stdio: StdioOptions = terminal ? ['inherit', 'inherit', 'pipe'] : ['ignore', 'pipe', 'pipe'];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], { stdio, detached: !terminal });
    this.#child = child;
    running.add(child);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-8192);
      });
    }
    this.ended = new Promise((resolve) => {
      const settle = (reason: string) => {
        this.#alive = false;
        running.delete(child);
        resolve(reason);
      };
      child.on('error', (error) => settle(error.message));
      child.on('close', (code, signal) =>
        settle(signal ? `was ended by ${signal}` : `exited with status ${code}`),
      );
    });
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** The last 8 KiB that it printed. */
  get output(): string {
    return this.#output.trim();
  }

  /** Asks it to end (QEMU gives the terminal back as it was), kills it if it does not. */
  async stop(): Promise<void> {
    if (!this.#alive) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.ended;
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
