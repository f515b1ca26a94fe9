import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { atExit } from './at-exit.ts';

const STOP_TIMEOUT_MS = 2_000;
const OUTPUT_KEPT = 8_192;

/**
 * A process that serves one VM. It never outlives this one: the kernel kills it when the thread that started it ends
 * (prctl PR_SET_PDEATHSIG, set by setpriv of util-linux), however that came about.
 */
export class HostProcess implements AsyncDisposable {
  /** Resolves when the process has ended, with how: "exited with status 1". Never rejects. */
  readonly ended: Promise<string>;
  readonly #child: ChildProcess;
  #output = '';
  #alive = true;

  /** With `terminal` the process shares the terminal of this one and its job; else it has no part in either. */
  constructor(argv: readonly string[], options: { readonly terminal?: boolean } = {}) {
    const terminal = options.terminal ?? false;
    const stdio: StdioOptions = terminal ? ['inherit', 'inherit', 'pipe'] : ['ignore', 'pipe', 'pipe'];
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...argv], { stdio, detached: !terminal });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_KEPT);
      });
    }
    const killAtExit = atExit(() => child.kill('SIGKILL'));
    const { promise, resolve } = Promise.withResolvers<string>();
    this.ended = promise.finally(() => {
      this.#alive = false;
      killAtExit[Symbol.dispose]();
    });
    child.on('error', (error) => resolve(`could not be started: ${error.message}`));
    child.on('close', (code, signal) =>
      resolve(signal ? `was ended by ${signal}` : `exited with status ${code}`),
    );
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** The last 8 KiB that it printed. */
  get output(): string {
    return this.#output.trim();
  }

  /** Asks it to end (QEMU gives the terminal back as it was), kills it if it does not. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#alive) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.ended;
    clearTimeout(timer);
  }
}
