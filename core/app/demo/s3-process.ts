import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import type { S3ServerOptions } from '../../s3-server/server.ts';
import { fromWire } from '../../util/wire-error.ts';
import type { FromS3Process, ToS3Process } from './s3-process-main.ts';

const MAIN = new URL(`./s3-process-main${extname(import.meta.url)}`, import.meta.url);

/** An S3 server in a process of its own; it ends with this one. */
export class S3Process implements AsyncDisposable {
  readonly endpoint: string;
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  static async start(options: S3ServerOptions): Promise<S3Process> {
    const child = fork(MAIN, [], { stdio: ['ignore', 2, 2, 'ipc'], execArgv: [] });
    const exited = once(child, 'exit');
    child.send({ type: 'start', options } satisfies ToS3Process);
    const first = once(child, 'message') as Promise<[FromS3Process]>;
    const [message] = await Promise.race([
      first,
      exited.then(([status]) => Promise.reject(new Error(`the S3 server ended with status ${status}`))),
    ]);
    if (message.type === 'failed') throw fromWire(message.error);
    return new S3Process(child, exited, message);
  }

  private constructor(child: ChildProcess, exited: Promise<unknown>, at: { endpoint: string; port: number }) {
    this.#child = child;
    this.#exited = exited;
    this.endpoint = at.endpoint;
    this.port = at.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.connected) this.#child.send({ type: 'stop' } satisfies ToS3Process, () => {});
    await this.#exited;
  }
}
