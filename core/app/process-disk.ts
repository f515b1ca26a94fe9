import type { ChildProcess } from 'node:child_process';
import type { Moment, SnapshotInfo } from '../api/device.ts';
import { GatewayError } from '../api/errors.ts';
import type { Holder } from '../api/frontend.ts';
import type { Logger } from '../api/logger.ts';
import { fromWire } from '../util/wire-error.ts';
import {
  type Answers,
  CHANNEL_VERSION,
  type FromDisk,
  type Identity,
  type Question,
  type ToDisk,
} from './disk-messages.ts';
import { HangDetector } from './hang-detector.ts';
import type { DiskDetails, DiskReport, RunningDisk } from './running-disk.ts';

/** After the grace period plugins have been told to give up; a process that still runs then is stuck. Milliseconds. */
const STUCK_MS = 10_000;

export interface ProcessDiskOptions {
  readonly name: string;
  readonly logger: Logger;
  /** Milliseconds. */
  readonly graceMs: number;
  /** Kills the process when it has not answered for so long. Milliseconds; undefined: never. */
  readonly hangMs?: number | undefined;
}

/** The gateway's end of a disk that runs in a process of its own. */
export class ProcessDisk implements RunningDisk, AsyncDisposable {
  readonly ended: Promise<Error | undefined>;
  readonly #child: ChildProcess;
  readonly #options: ProcessDiskOptions;
  readonly #prepared = unobserved<number>();
  readonly #ready = unobserved<DiskDetails>();
  readonly #questions = new Map<number, PromiseWithResolvers<unknown>>();
  #lastQuestion = 0;
  #details: DiskDetails | undefined;
  #failure: Error | undefined;
  #stopping: Promise<void> | undefined;
  #stuck: NodeJS.Timeout | undefined;
  #hangs: HangDetector | undefined;

  constructor(child: ChildProcess, options: ProcessDiskOptions) {
    this.#child = child;
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

  /** Resolves once everything is loaded; otherwise the process is gone when this rejects. */
  async prepare(identity: Identity, signal: AbortSignal): Promise<void> {
    this.#send({ type: 'prepare', ...identity });
    const version = await this.#unlessGivenUp(this.#prepared.promise, signal);
    if (version === CHANNEL_VERSION) return;
    await this.stop().catch(() => {});
    throw foreignVersion(version);
  }

  /** Resolves once the disk is attached; otherwise the process is gone when this rejects. */
  async start(message: Extract<ToDisk, { type: 'start' }>, signal: AbortSignal): Promise<this> {
    this.#send(message);
    this.#details = await this.#unlessGivenUp(this.#ready.promise, signal);
    this.#watchForHangs();
    return this;
  }

  get details(): DiskDetails {
    return this.#details!;
  }

  async holders(): Promise<readonly Holder[]> {
    // A disk that is no more is used by nobody.
    return this.#ask<'holders'>({ about: 'holders' }).catch((error: unknown) => {
      if (this.#child.connected) throw error;
      return [];
    });
  }

  report(): Promise<DiskReport> {
    return this.#ask<'report'>({ about: 'report' });
  }

  flush(): Promise<void> {
    return this.#ask<'flush'>({ about: 'flush' });
  }

  resize(size?: number): Promise<number> {
    return this.#ask<'resize'>({ about: 'resize', ...(size !== undefined && { size }) });
  }

  snapshot(name: string, moment?: Moment): Promise<SnapshotInfo> {
    return this.#ask<'snapshot'>({ about: 'snapshot', name, ...(moment && { at: moment.at.toISOString() }) });
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#end({ type: 'stop' });
    return this.#stopping;
  }

  handOver(): Promise<void> {
    this.#stopping ??= this.#end({ type: 'hand-over' });
    return this.#stopping;
  }

  /** Ends a process that nothing was started in. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#details === undefined) await this.stop().catch(() => {});
  }

  async #unlessGivenUp<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
    const giveUp = () => this.#tell({ type: 'stop' });
    signal.addEventListener('abort', giveUp, { once: true });
    if (signal.aborted) giveUp();
    try {
      return await promise;
    } catch (error) {
      await this.ended;
      throw signal.aborted ? signal.reason : error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  async #ask<A extends keyof Answers>(question: Question & { about: A }): Promise<Answers[A]> {
    if (!this.#child.connected) throw notAnswered(this.#options.name);
    const id = ++this.#lastQuestion;
    const reply = Promise.withResolvers<unknown>();
    this.#questions.set(id, reply);
    this.#send({ type: 'ask', id, ...question });
    return (await reply.promise) as Answers[A];
  }

  async #end(message: Extract<ToDisk, { type: 'stop' | 'hand-over' }>): Promise<void> {
    this.#tell(message);
    await this.ended;
    if (this.#failure) throw this.#failure;
  }

  #watchForHangs(): void {
    const { name, hangMs } = this.#options;
    if (hangMs === undefined || this.#stuck !== undefined || !this.#child.connected) return;
    this.#hangs = new HangDetector({
      limitMs: hangMs,
      ask: () => this.#send({ type: 'ping' }),
      onHung: () => {
        this.#failure ??= hung(name, hangMs);
        this.#child.kill('SIGKILL');
      },
    });
  }

  /** To end. A process that does not, is killed. */
  #tell(message: Extract<ToDisk, { type: 'stop' | 'hand-over' }>): void {
    // That has a time limit of its own.
    this.#hangs?.[Symbol.dispose]();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const afterMs = this.#options.graceMs + STUCK_MS;
    this.#stuck ??= setTimeout(() => {
      this.#failure = killed(this.#options.name, afterMs);
      this.#child.kill('SIGKILL');
    }, afterMs);
    this.#send(message);
  }

  #send(message: ToDisk): void {
    // A channel that broke is no news of its own: `exit` follows and says what happened.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  #receive(message: FromDisk): void {
    switch (message.type) {
      case 'prepared':
        this.#prepared.resolve(message.version);
        break;
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
      case 'answer': {
        const reply = this.#questions.get(message.id);
        this.#questions.delete(message.id);
        if (message.error) reply?.reject(fromWire(message.error));
        else reply?.resolve(message.value);
        break;
      }
      case 'log':
        this.#options.logger[message.level](message.message, message.fields);
    }
  }

  #exited(status: number | null | undefined, signal: NodeJS.Signals | null | undefined): Error | undefined {
    clearTimeout(this.#stuck);
    this.#hangs?.[Symbol.dispose]();
    const { name } = this.#options;
    const wasAsked = this.#stuck !== undefined;
    if (!(wasAsked && status === 0)) this.#failure ??= died(name, { status, signal, details: this.#details });
    const notReady = this.#failure ?? new Error('stopped before it was ready');
    this.#prepared.reject(notReady);
    this.#ready.reject(notReady);
    for (const reply of this.#questions.values()) reply.reject(this.#failure ?? notAnswered(name));
    this.#questions.clear();
    return this.#stopping === undefined ? this.#failure : undefined;
  }
}

/** A promise that nobody may be waiting for when it is rejected. */
function unobserved<T>(): PromiseWithResolvers<T> {
  const resolvers = Promise.withResolvers<T>();
  resolvers.promise.catch(() => {});
  return resolvers;
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
      fix: 'It is started again by itself. If it happens often, find out what its process (see the log) waits for.',
    },
  );
}

function notAnswered(name: string): GatewayError {
  return new GatewayError('disk.not-running', `Disk "${name}" is not running.`, {
    why: 'Its process ended before it answered.',
    fix: 'Look at "blockgate status", and ask again when the disk runs.',
  });
}

function foreignVersion(version: number): GatewayError {
  return new GatewayError('disk.cannot-upgrade', 'The new code does not fit the gateway that runs.', {
    why: `Gateway and disks talk version ${CHANNEL_VERSION} of their protocol, the new code talks ${version}.`,
    fix: 'Restart the gateway; the disk goes on with the old code until then.',
  });
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
  return new GatewayError('disk.process-died', `The process of disk "${name}" ${how}.`, {
    why: `A plugin crashed, or somebody killed it. Whoever uses ${details.path} waits until it is served again.`,
    fix: 'It is started again by itself; if it keeps dying, its last words above tell why. Writes that were not flushed may be lost: check the file system (fsck) when you can.',
  });
}
