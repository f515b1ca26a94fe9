import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Playground, PlaygroundRun } from './playground.ts';

/** The demo's disk on this machine. */
export class LocalPlayground implements Playground {
  readonly description = 'this machine';
  readonly hostAddress = '127.0.0.1';
  readonly folder: string;
  readonly #signal: AbortSignal;

  constructor(folder: string, signal: AbortSignal) {
    this.folder = folder;
    this.#signal = signal;
  }

  async run([file, ...args]: readonly string[], { env, onLine }: PlaygroundRun): Promise<number> {
    const child = spawn(file!, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    for (const stream of [child.stdout, child.stderr]) createInterface(stream).on('line', onLine);
    return this.#exitOf(child);
  }

  runInTerminal([file, ...args]: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
    return this.#exitOf(spawn(file!, args, { stdio: 'inherit', env: { ...process.env, ...env } }));
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Asked to end, a gateway still unmounts, detaches and flushes: the demo waits for that. */
  async #exitOf(child: ChildProcess): Promise<number> {
    const interrupt = () => child.kill('SIGTERM');
    this.#signal.addEventListener('abort', interrupt, { once: true });
    try {
      const status = await new Promise<number>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code) => resolve(code ?? 1));
      });
      this.#signal.throwIfAborted();
      return status;
    } finally {
      this.#signal.removeEventListener('abort', interrupt);
    }
  }
}
