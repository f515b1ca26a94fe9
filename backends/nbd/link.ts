// hot path: see ARCHITECTURE.md "Data plane"

import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_ESHUTDOWN,
  NBD_FLAG_SEND_FLUSH,
} from '../../core/nbd/protocol.ts';
import { BlockError, backoffMs, type Logger, sleep } from '../../core/plugin.ts';
import type { ConnectionGroup } from './connection-group.ts';
import { errnoOf, exportDiffers } from './errors.ts';
import { difference, type ExportInfo } from './export-info.ts';
import { ReplayWindow, weightOf } from './replay-window.ts';
import { NbdRequest } from './request.ts';

/** Makes a connection that has negotiated the export, or several. */
export type Connect = (
  onAnswer: (request: NbdRequest) => void,
  signal: AbortSignal,
) => Promise<ConnectionGroup>;

export interface LinkOptions {
  readonly connect: Connect;
  readonly logger: Logger;
  /** Aborts when it is time to give up waiting. */
  readonly signal: AbortSignal;
  /** Bytes of unflushed changes that are kept. */
  readonly window: number;
  /** Milliseconds without a connection until requests fail; undefined: never. */
  readonly giveUpMs: number | undefined;
}

export type LinkState = 'connected' | 'reconnecting' | 'given up' | 'failed';

const RETRY = { baseMs: 100, maxMs: 5_000 } as const;

/**
 * The way to an export, across as many connections as it takes. When one breaks, requests wait; on the next, first what
 * the server may have forgotten is sent again, then what was under way, then what has come meanwhile.
 */
export class NbdLink implements AsyncDisposable {
  readonly #options: LinkOptions;
  readonly #window = new ReplayWindow();
  readonly #closing = new AbortController();
  /** Requests that wait: for a connection, or for room in the window. Oldest first. */
  #waiting: NbdRequest[] = [];
  #connection: ConnectionGroup | undefined;
  #info: ExportInfo;
  #state: LinkState = 'connected';
  #failure: Error | undefined;
  #reconnections = 0;
  #disconnectedAt = 0;
  /** Bytes of changes that are under way. */
  #pendingBytes = 0;
  /** A flush of our own that makes room in the window. */
  #making = false;
  readonly #following: Promise<void>;
  /** Changes that are being sent again, on a connection that serves nothing else yet. */
  readonly #replayed = new Map<NbdRequest, PromiseWithResolvers<void>>();
  /** By flush: what it covers. */
  readonly #flushMarks = new Map<NbdRequest, NbdRequest | undefined>();

  private constructor(options: LinkOptions, connection: ConnectionGroup) {
    this.#options = options;
    this.#info = connection.info;
    this.#connection = connection;
    this.#following = this.#follow(connection);
    // Whoever stops the disk does not wait any longer: nor does a request that the server does not answer.
    options.signal.addEventListener('abort', () => this.#connection?.[Symbol.dispose](), { once: true });
  }

  /** Throws what `connect` throws when there is no first connection. */
  static async open(options: LinkOptions): Promise<NbdLink> {
    const onAnswer = (request: NbdRequest): void => link.#onAnswer(request);
    const link: NbdLink = new NbdLink(options, await options.connect(onAnswer, options.signal));
    return link;
  }

  get info(): ExportInfo {
    return this.#info;
  }

  status(): Record<string, string | number> {
    return {
      state: this.#state,
      ...(this.#state === 'connected'
        ? {}
        : { 'without connection for': `${Math.round((performance.now() - this.#disconnectedAt) / 1000)} s` }),
      connections: this.#connection?.size ?? 0,
      reconnections: this.#reconnections,
      unflushed: `${this.#window.bytes} bytes`,
    };
  }

  /** Settles when the server has answered; rejects with a `BlockError`. */
  submit(request: NbdRequest): Promise<void> {
    if (this.#failure !== undefined)
      request.reject(new BlockError('EIO', this.#failure.message, { cause: this.#failure }));
    else if (this.#connection === undefined || this.#waiting.length > 0 || !this.#hasRoom(request))
      this.#waiting.push(request);
    else this.#send(this.#connection, request);
    return request.promise;
  }

  /** Another look at the export: its size may have grown. Throws `nbd.export-differs`. */
  async refresh(): Promise<ExportInfo> {
    const probe = await this.#options.connect(() => undefined, this.#options.signal);
    try {
      const changed = difference(this.#info, probe.info);
      if (changed !== undefined) throw exportDiffers(changed);
      this.#info = { ...this.#info, size: probe.info.size };
      return this.#info;
    } finally {
      probe[Symbol.dispose]();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error('the disk is closed'));
    this.#waiting.push(...(this.#connection?.unanswered ?? []));
    this.#connection?.[Symbol.dispose]();
    await this.#following;
    this.#failAll(new BlockError('ESHUTDOWN', 'the disk is closed'));
  }

  #changes({ command }: NbdRequest): boolean {
    return (
      command !== NBD_CMD_READ &&
      command !== NBD_CMD_FLUSH &&
      command !== NBD_CMD_BLOCK_STATUS &&
      command !== NBD_CMD_CACHE
    );
  }

  /** Without a flush the server makes every change durable before it answers, or never tells. */
  get #keepsChanges(): boolean {
    return (this.#info.flags & NBD_FLAG_SEND_FLUSH) !== 0;
  }

  #hasRoom(request: NbdRequest): boolean {
    if (!this.#keepsChanges || !this.#changes(request)) return true;
    const taken = this.#window.bytes + this.#pendingBytes;
    if (taken > this.#options.window / 2) this.#makeRoom();
    return taken === 0 || taken + weightOf(request) <= this.#options.window;
  }

  /** What waits for room fails with this flush: otherwise it would wait for as long as the server cannot flush. */
  #makeRoom(): void {
    if (this.#making || this.#window.bytes === 0 || this.#connection === undefined) return;
    this.#making = true;
    const flush = new NbdRequest(NBD_CMD_FLUSH, 0, 0, 0);
    const over = (): void => {
      this.#making = false;
      this.#sendWaiting();
    };
    flush.promise.then(over, (error: BlockError) => {
      this.#making = false;
      this.#failAll(error);
    });
    this.#send(this.#connection, flush);
  }

  #send(connection: ConnectionGroup, request: NbdRequest): void {
    if (request.command === NBD_CMD_FLUSH) this.#flushMarks.set(request, this.#window.mark);
    else if (this.#changes(request)) this.#pendingBytes += weightOf(request);
    connection.send(request);
  }

  #sendWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const [index, request] of waiting.entries()) {
      if (this.#connection === undefined || !this.#hasRoom(request)) {
        this.#waiting = [...waiting.slice(index), ...this.#waiting];
        return;
      }
      this.#send(this.#connection, request);
    }
  }

  readonly #onAnswer = (request: NbdRequest): void => {
    const replay = this.#replayed.get(request);
    if (replay !== undefined) {
      this.#replayed.delete(request);
      if (request.error === 0) replay.resolve();
      else replay.reject(this.#errorOf(request));
      return;
    }
    if (request.error === NBD_ESHUTDOWN) {
      // The server is about to go; its successor will answer.
      this.#forget(request);
      request.rewind();
      this.#waiting.unshift(request);
      this.#connection?.[Symbol.dispose]();
      return;
    }
    const mark = this.#flushMarks.get(request);
    this.#forget(request);
    if (request.failure !== undefined) request.reject(request.failure);
    else if (request.error !== 0) request.reject(this.#errorOf(request));
    else {
      if (request.command === NBD_CMD_FLUSH) this.#window.flushed(mark);
      else if (this.#changes(request) && this.#keepsChanges && (request.flags & NBD_CMD_FLAG_FUA) === 0)
        this.#window.add(request);
      request.resolve();
    }
    if (this.#waiting.length > 0) this.#sendWaiting();
  };

  /** It is not under way any more. */
  #forget(request: NbdRequest): void {
    if (request.command === NBD_CMD_FLUSH) this.#flushMarks.delete(request);
    else if (this.#changes(request)) this.#pendingBytes -= weightOf(request);
  }

  #errorOf({ error, message }: NbdRequest): BlockError {
    return new BlockError(
      errnoOf(error),
      `the NBD server reports error ${error}${message && `: ${message}`}`,
    );
  }

  /** Stays with the export until the disk is closed, or nothing can be done any more. Never rejects. */
  async #follow(first: ConnectionGroup): Promise<void> {
    for (let connection = first; ; ) {
      const error = await connection.lost;
      if (this.#closing.signal.aborted) return;
      this.#lost(connection, error);
      const next = await this.#reconnect();
      if (next === undefined) return;
      connection = next;
    }
  }

  #lost(connection: ConnectionGroup, error: Error): void {
    connection[Symbol.dispose]();
    this.#connection = undefined;
    this.#state = 'reconnecting';
    this.#disconnectedAt = performance.now();
    const { unanswered } = connection;
    for (const request of unanswered) {
      this.#forget(request);
      request.rewind();
    }
    this.#waiting = [...unanswered, ...this.#waiting];
    this.#options.logger.warn('the connection to the NBD server is lost; requests wait for the next', {
      why: error.message,
      waiting: this.#waiting.length,
    });
  }

  async #reconnect(): Promise<ConnectionGroup | undefined> {
    const { connect, giveUpMs, logger } = this.#options;
    const signal = AbortSignal.any([this.#closing.signal, this.#options.signal]);
    const giveUp = giveUpMs === undefined ? undefined : setTimeout(() => this.#giveUp(giveUpMs), giveUpMs);
    try {
      for (let attempt = 0; ; attempt++) {
        let connection: ConnectionGroup | undefined;
        try {
          await sleep(backoffMs(attempt, RETRY), signal);
          connection = await connect(this.#onAnswer, signal);
          this.#checkIdentity(connection.info);
          await this.#replay(connection);
          this.#resume(connection);
          logger.info('the NBD server is back', { replayed: this.#window.requests.length });
          return connection;
        } catch (error) {
          connection?.[Symbol.dispose]();
          if (signal.aborted) {
            this.#fail(new BlockError('EIO', 'the disk was stopped while its NBD server was away'));
            return undefined;
          }
          if (this.#failure !== undefined && this.#state === 'failed') return undefined;
          if (attempt === 0 || attempt % 20 === 0) logger.warn('the NBD server cannot be reached', { error });
        }
      }
    } finally {
      clearTimeout(giveUp);
    }
  }

  /** Writes must not go to another export that has taken the place of this one. */
  #checkIdentity(info: ExportInfo): void {
    const changed = difference(this.#info, info);
    if (changed === undefined) return;
    const error = exportDiffers(changed);
    this.#options.logger.error(error.message, { why: error.why, fix: error.fix });
    this.#fail(error);
    throw error;
  }

  /** One after the other where they overlap: a server may carry out at once what it has at once. */
  async #replay(connection: ConnectionGroup): Promise<void> {
    let batch: NbdRequest[] = [];
    let answers: Promise<void>[] = [];
    let bytes = 0;
    const settle = async (): Promise<void> => {
      await Promise.all(answers);
      [batch, answers, bytes] = [[], [], 0];
    };
    void connection.lost.then((error) => {
      for (const replay of this.#replayed.values()) replay.reject(error);
      this.#replayed.clear();
    });
    for (const request of this.#window.requests) {
      const end = request.offset + request.length;
      const overlaps = batch.some(
        (other) => request.offset < other.offset + other.length && other.offset < end,
      );
      if (overlaps || batch.length >= 64 || bytes > 8 * 2 ** 20) await settle();
      request.rewind();
      const replay = Promise.withResolvers<void>();
      replay.promise.catch(() => {});
      this.#replayed.set(request, replay);
      batch.push(request);
      answers.push(replay.promise);
      bytes += weightOf(request);
      connection.send(request);
    }
    await settle();
  }

  #resume(connection: ConnectionGroup): void {
    this.#connection = connection;
    this.#state = 'connected';
    this.#failure = undefined;
    this.#making = false;
    this.#reconnections++;
    this.#sendWaiting();
  }

  /** Requests fail from now on, but the server is looked for all the same. */
  #giveUp(afterMs: number): void {
    this.#state = 'given up';
    this.#failure = new ConnectionLost(`the NBD server has been away for more than ${afterMs / 1000} s`);
    this.#options.logger.error('requests fail from now on: the NBD server is away', { afterMs });
    this.#failAll(new BlockError('EIO', this.#failure.message));
  }

  #fail(error: Error): void {
    this.#state = 'failed';
    this.#failure = error;
    this.#failAll(new BlockError('EIO', error.message, { cause: error }));
  }

  #failAll(error: BlockError): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const request of waiting) request.reject(error);
  }
}
