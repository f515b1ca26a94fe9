import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** What to do on the vDPA bus: one line of JSON on the process's stdin. */
export type VdpaCall =
  | {
      readonly command: 'add';
      /** Name of the VDUSE device. */
      readonly name: string;
      /** The driver of the bus that shall have it. */
      readonly driver: string;
    }
  | { readonly command: 'remove'; readonly name: string };

/** How it went: one line of JSON on the process's stdout. */
export interface VdpaOutcome {
  /** 0: done. */
  readonly errno: number;
  /** What was being done, for a person. */
  readonly step: string;
  /** What the kernel adds in words. */
  readonly message?: string;
}

const main = fileURLToPath(new URL(`./vdpa-main${extname(import.meta.url)}`, import.meta.url));

/**
 * The process that waits for the vDPA bus in place of this one: see `vdpa-main.ts`. One call at a time. It ends with
 * its stdin, at the latest when this process ends, and does not keep this process alive.
 */
export class VdpaProcess implements Disposable {
  readonly #child: ChildProcess;
  readonly #stdin: Socket;
  #errors = '';
  #waiting: PromiseWithResolvers<VdpaOutcome> | undefined;
  #ended: Error | undefined;

  constructor() {
    const child = spawn(process.execPath, [main], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    // All three are sockets, whatever the types of Node say: as such they can be unreferenced.
    this.#stdin = child.stdin as unknown as Socket;
    for (const pipe of [child.stdin, child.stdout, child.stderr]) (pipe as unknown as Socket).unref();
    child.unref();
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#waiting?.resolve(JSON.parse(line) as VdpaOutcome);
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = `${this.#errors}${text}`.slice(-4096);
    });
    child.once('error', (error) => this.#end(error));
    child.once('close', (code, signal) => {
      this.#end(
        new Error(`the process that talks to the vDPA bus ended (${signal ?? code}): ${this.#errors.trim()}`),
      );
    });
    // A write to a process that is gone is reported by its end.
    child.stdin.on('error', () => {});
  }

  /** False once the process has ended. */
  get alive(): boolean {
    return this.#ended === undefined;
  }

  /** Rejects with `signal`'s reason when it aborts; the process is then killed, and useless. */
  async call(call: VdpaCall, signal: AbortSignal): Promise<VdpaOutcome> {
    signal.throwIfAborted();
    if (this.#ended) throw this.#ended;
    this.#waiting = Promise.withResolvers();
    const abort = (): void => {
      const { reason } = signal;
      this.#end(reason instanceof Error ? reason : new Error(String(reason)));
      this.#child.kill('SIGKILL');
    };
    signal.addEventListener('abort', abort, { once: true });
    this.#child.ref();
    try {
      this.#stdin.write(`${JSON.stringify(call)}\n`);
      return await this.#waiting.promise;
    } finally {
      signal.removeEventListener('abort', abort);
      this.#waiting = undefined;
      // Stuck in the kernel, it may outlive every wish to be rid of it.
      this.#child.unref();
    }
  }

  /** Lets the process end. */
  [Symbol.dispose](): void {
    this.#stdin.end();
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#waiting?.reject(error);
  }
}
