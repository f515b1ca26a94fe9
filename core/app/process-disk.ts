import type { ChildProcess } from 'node:child_process';
import { GatewayError } from '../api/errors.ts';
import type { Holder } from '../api/frontend.ts';
import type { Logger } from '../api/logger.ts';
import type { FromDisk, ToDisk } from './disk-messages.ts';
import { HangDetector } from './hang-detector.ts';
import type { DiskDetails, RunningDisk } from './running-disk.ts';
import { fromWire } from './wire-error.ts';

/** After the grace period plugins have been told to give up; a process that still runs then is stuck. Milliseconds. */
const STUCK_MS = 10_000;

export interface ProcessDiskOptions {
  readonly logger: Logger;
  /** Gives up starting. */
  readonly signal: AbortSignal;
  /** Milliseconds. */
  readonly graceMs: number;
  /** Kills the process when it has not answered for so long. Milliseconds; undefined: never. */
  readonly hangMs?: number | undefined;
}

type HoldersReply = PromiseWithResolvers<readonly Holder[]>;

/** The gateway's end of a disk that runs in a process of its own. */
export class ProcessDisk implements RunningDisk {
  readonly ended: Promise<Error | undefined>;
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #options: ProcessDiskOptions;
  readonly #ready = Promise.withResolvers<DiskDetails>();
  readonly #questions = new Map<number, HoldersReply>();
  #lastQuestion = 0;
  #details: DiskDetails | undefined;
  #failure: Error | undefined;
  #stopping: Promise<void> | undefined;
  #stuck: NodeJS.Timeout | undefined;
  #hangs: HangDetector | undefined;

  /** Resolves once the disk is attached; otherwise the process is gone when this rejects. */
  static async start(
    child: ChildProcess,
    start: Extract<ToDisk, { type: 'start' }>,
    options: ProcessDiskOptions,
  ): Promise<ProcessDisk> {
    const disk = new ProcessDisk(child, start.order.disk.name, options);
    const giveUp = () => disk.#askToStop();
    options.signal.addEventListener('abort', giveUp, { once: true });
    try {
      disk.#send(start);
      if (options.signal.aborted) giveUp();
      disk.#details = await disk.#ready.promise;
      disk.#watchForHangs();
      return disk;
    } catch (error) {
      await disk.ended;
      throw options.signal.aborted ? options.signal.reason : error;
    } finally {
      options.signal.removeEventListener('abort', giveUp);
    }
  }

  private constructor(child: ChildProcess, name: string, options: ProcessDiskOptions) {
    this.#child = child;
    this.#name = name;
    this.#options = options;
    child.on('message', (message: FromDisk) => {
      try {
        this.#receive(message);
      } catch (error) {
        // No message of ours: whoever has taken that process over must not bring this one down as well.
        this.#failure ??= error as Error;
        child.kill('SIGKILL');
      }
    });
    this.ended = new Promise((resolve) => {
      child.once('exit', (status, signal) => resolve(this.#exited(status, signal)));
      // `error` without a process: it could not be started at all, so `exit` never comes.
      child.once('error', (error) => {
        this.#failure ??= error;
        if (child.pid === undefined) resolve(this.#exited(undefined, undefined));
      });
    });
  }

  get details(): DiskDetails {
    return this.#details!;
  }

  async holders(): Promise<readonly Holder[]> {
    if (!this.#child.connected) return [];
    const id = ++this.#lastQuestion;
    const reply: HoldersReply = Promise.withResolvers();
    this.#questions.set(id, reply);
    this.#send({ type: 'holders', id });
    return reply.promise;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#askToStop();
    await this.ended;
    if (this.#failure) throw this.#failure;
  }

  #watchForHangs(): void {
    const { hangMs } = this.#options;
    if (hangMs === undefined || this.#stuck !== undefined || !this.#child.connected) return;
    this.#hangs = new HangDetector({
      limitMs: hangMs,
      ask: () => this.#send({ type: 'ping' }),
      onHung: () => {
        this.#failure ??= hung(this.#name, hangMs);
        this.#child.kill('SIGKILL');
      },
    });
  }

  #askToStop(): void {
    // A stop has a time limit of its own.
    this.#hangs?.[Symbol.dispose]();
    this.#stuck ??= setTimeout(() => {
      this.#failure = killed(this.#name, this.#options.graceMs + STUCK_MS);
      this.#child.kill('SIGKILL');
    }, this.#options.graceMs + STUCK_MS);
    this.#send({ type: 'stop' });
  }

  #send(message: ToDisk): void {
    // A channel that broke is no news of its own: `exit` follows and says what happened.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  #receive(message: FromDisk): void {
    switch (message.type) {
      case 'ready':
        this.#ready.resolve(message.details);
        break;
      case 'failed':
        this.#failure = fromWire(message.error);
        break;
      case 'stopped':
        break;
      case 'pong':
        this.#hangs?.answered();
        break;
      case 'holders': {
        const reply = this.#questions.get(message.id);
        this.#questions.delete(message.id);
        if (message.error) reply?.reject(fromWire(message.error));
        else reply?.resolve(message.holders ?? []);
        break;
      }
      case 'log':
        this.#options.logger[message.level](message.message, message.fields);
    }
  }

  #exited(status: number | null | undefined, signal: NodeJS.Signals | null | undefined): Error | undefined {
    clearTimeout(this.#stuck);
    this.#hangs?.[Symbol.dispose]();
    const wasAsked = this.#stuck !== undefined;
    if (!(wasAsked && status === 0))
      this.#failure ??= died(this.#name, { status, signal, details: this.#details });
    this.#ready.reject(this.#failure ?? new Error('stopped before it was ready'));
    // Nobody waits for `ready` of a disk that was given up between start and now.
    this.#ready.promise.catch(() => {});
    for (const reply of this.#questions.values()) reply.resolve([]);
    this.#questions.clear();
    return this.#stopping === undefined ? this.#failure : undefined;
  }
}

function killed(name: string, afterMs: number): GatewayError {
  return new GatewayError(
    'disk.killed',
    `Disk "${name}" did not stop within ${afterMs / 1000} s and was killed.`,
    {
      why: 'Its process no longer answered, or its store did not.',
      fix: 'Writes that were not flushed are lost: check the file system (fsck) before you rely on it.',
    },
  );
}

function hung(name: string, limitMs: number): GatewayError {
  return new GatewayError(
    'disk.hung',
    `The process of disk "${name}" gave no sign of life for ${limitMs / 1000} s and was killed.`,
    {
      why: 'Something in it, a plugin most likely, keeps its event loop from turning, or it was stopped by a signal.',
      fix: `Run "blockgate run ${name}" again. If it happens often, find out what its process (see the log) waits for.`,
    },
  );
}

interface Death {
  readonly status: number | null | undefined;
  readonly signal: NodeJS.Signals | null | undefined;
  readonly details: DiskDetails | undefined;
}

function died(name: string, { status, signal, details }: Death): GatewayError {
  const how = signal ? `was killed by ${signal}` : `ended with status ${status}`;
  if (!details) {
    return new GatewayError(
      'disk.process-died',
      `The process of disk "${name}" ${how} before the disk was ready.`,
      {
        why: 'A plugin crashed, or somebody killed it; its last words are above.',
        fix: `Run "blockgate run --in-process --log-level debug ${name}" to see more.`,
      },
    );
  }
  return new GatewayError(
    'disk.process-died',
    `The process of disk "${name}" ${how}; ${details.path} is dead.`,
    {
      why: 'A plugin crashed, or somebody killed it. Writes that were not flushed are lost; whoever uses the disk waits or sees I/O errors.',
      fix: `Unmount ${details.path} (umount --lazy if it hangs), run "blockgate run ${name}" again, and check the file system (fsck).`,
    },
  );
}
