// hot path: see ARCHITECTURE.md "Data plane"

import { BlockError, backoffMs, type Logger, sleep } from '../../core/plugin.ts';
import { type Change, chunkLost } from './change.ts';
import { batchesOf, type ChangeBatch, sendBatch } from './change-batch.ts';
import type { RedisClients } from './clients.ts';
import type { Durability } from './durability.ts';
import { isFenced, isGone, isReply, messageOf, requestError } from './errors.ts';
import type { KeySpace } from './keys.ts';
import type { Ownership } from './ownership.ts';

const RETRY = { baseMs: 50, maxMs: 2_000 } as const;

export interface LinkOptions {
  readonly clients: RedisClients;
  readonly keys: KeySpace;
  readonly ownership: Ownership;
  readonly durability: Durability;
  /** A chunk exists, as far as we know. */
  readonly isThere: (chunk: number) => boolean;
  readonly logger: Logger;
  /** Aborts when it is time to give up waiting. */
  readonly signal: AbortSignal;
  /** Bytes of unflushed changes that are kept. */
  readonly window: number;
  /** Milliseconds without a server until requests fail; undefined: never. */
  readonly giveUpMs: number | undefined;
}

export type LinkState = 'connected' | 'recovering' | 'given up' | 'failed';

interface PendingRead {
  readonly run: () => unknown;
  readonly reject: (error: BlockError) => void;
}

/**
 * The way to a volume, across connections and failovers. When a connection breaks, nothing new is sent until what was
 * under way has come to its end; then the volume is claimed again, what the server may have forgotten is sent again in its
 * order, and everything that waited goes on. What was read meanwhile may have come from a server that had forgotten
 * something: it is read again.
 */
export class RedisLink implements AsyncDisposable {
  readonly #options: LinkOptions;
  readonly #closing = new AbortController();
  /** Changes that are answered and not durable, in the order of their answers. */
  #window: Change[] = [];
  #windowBytes = 0;
  #pendingBytes = 0;
  /** Changes of this turn of the event loop, which leave together. */
  #gathered: Change[] = [];
  /** Changes that wait: for a server, or for room in the window. Oldest first. */
  #waiting: Change[] = [];
  #reads: PendingRead[] = [];
  /** Flushes that wait for a server. */
  #flushes: (() => void)[] = [];
  #underWay = 0;
  #settled: (() => void)[] = [];
  #state: LinkState = 'connected';
  #failure: BlockError | undefined;
  /** Why no flush can be promised at the moment. */
  #danger: string | undefined;
  #making = false;
  #recovering: Promise<void> | undefined;
  #recoveries = 0;
  #disconnectedAt = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    options.clients.onDisrupted = () => this.#disrupted();
  }

  status(): Record<string, string | number> {
    return {
      state: this.#danger === undefined ? this.#state : `in danger: ${this.#danger}`,
      ...(this.#state === 'connected'
        ? {}
        : { 'without server for': `${Math.round((performance.now() - this.#disconnectedAt) / 1000)} s` }),
      durability: this.#options.durability.mode,
      recoveries: this.#recoveries,
      unflushed: `${this.#windowBytes} bytes`,
      epoch: this.#options.ownership.epoch,
    };
  }

  /** While this is set, flushes fail: what they would promise may not hold. */
  set danger(why: string | undefined) {
    this.#danger = why;
  }

  /** Settles when the server has carried them all out; rejects with a `BlockError`. */
  change(changes: readonly Change[]): Promise<void> {
    for (const change of changes) {
      if (this.#failure !== undefined) change.reject(this.#failure);
      else if (this.#state !== 'connected' || this.#waiting.length > 0 || !this.#hasRoom(change))
        this.#waiting.push(change);
      else this.#gather(change);
    }
    return changes.length === 1 ? changes[0]!.promise : settledAll(changes);
  }

  /** `ask` reads from the server, and may be called again. */
  read(ask: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#state !== 'connected')
      return new Promise((resolve, reject) =>
        this.#reads.push({ run: () => this.read(ask).then(resolve, reject), reject }),
      );
    const { clients } = this.#options;
    const { generation } = clients;
    this.#underWay++;
    return ask().then(
      () => {
        this.#leave();
        // Otherwise it may have come from a server that had forgotten something.
        return clients.generation === generation ? undefined : this.read(ask);
      },
      (error: unknown) => {
        this.#leave();
        if (BlockError.is(error)) throw error;
        if (isReply(error)) throw this.#refused(error);
        this.#disrupted();
        return this.read(ask);
      },
    );
  }

  /** Everything that was answered before is durable. */
  async flush(): Promise<void> {
    const { clients, durability } = this.#options;
    for (;;) {
      await this.#connected();
      if (this.#danger !== undefined)
        throw new BlockError('EIO', `nothing can be promised at the moment: ${this.#danger}`);
      const mark = this.#window.at(-1);
      const { generation } = clients;
      this.#underWay++;
      try {
        await durability.flush(clients);
        // Of another connection than the one that carried the writes, the answer says nothing.
        if (clients.generation !== generation) continue;
        this.#flushed(mark);
        return;
      } catch (error) {
        if (BlockError.is(error)) throw error;
        if (isReply(error)) throw this.#refused(error);
        this.#disrupted();
      } finally {
        this.#leave();
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error('the disk is closed'));
    await this.#recovering;
    this.#fail(new BlockError('ESHUTDOWN', 'the disk is closed'));
  }

  #gather(change: Change): void {
    this.#pendingBytes += change.weight;
    if (this.#gathered.push(change) === 1) process.nextTick(this.#sendGathered);
  }

  readonly #sendGathered = (): void => {
    const gathered = this.#gathered;
    this.#gathered = [];
    if (this.#state !== 'connected') {
      for (const { weight } of gathered) this.#pendingBytes -= weight;
      if (this.#failure !== undefined) for (const change of gathered) change.reject(this.#failure);
      else this.#waiting.unshift(...gathered);
      return;
    }
    for (const batch of batchesOf(gathered, this.#options.keys)) void this.#send(batch);
  };

  async #send(batch: ChangeBatch): Promise<void> {
    const { clients, keys, ownership, isThere } = this.#options;
    this.#underWay++;
    try {
      const statuses = await sendBatch(clients, keys, ownership.token, batch, isThere);
      for (const [index, change] of batch.changes.entries()) {
        this.#pendingBytes -= change.weight;
        if (statuses[index] === 0) this.#answered(change);
        else change.reject(this.chunkMissing(change.chunk));
      }
    } catch (error) {
      for (const { weight } of batch.changes) this.#pendingBytes -= weight;
      if (isReply(error)) {
        const refused = this.#refused(error);
        for (const change of batch.changes) change.reject(refused);
      } else {
        this.#waiting.unshift(...batch.changes);
        this.#disrupted();
      }
    } finally {
      this.#leave();
    }
    if (this.#state === 'connected' && this.#waiting.length > 0) this.#sendWaiting();
  }

  #answered(change: Change): void {
    this.#window.push(change);
    this.#windowBytes += change.weight;
    change.resolve();
  }

  #flushed(mark: Change | undefined): void {
    const count = mark === undefined ? 0 : this.#window.indexOf(mark) + 1;
    for (let i = 0; i < count; i++) this.#windowBytes -= this.#window[i]!.weight;
    this.#window = this.#window.slice(count);
    if (this.#state === 'connected') this.#sendWaiting();
  }

  #hasRoom({ weight }: Change): boolean {
    const taken = this.#windowBytes + this.#pendingBytes;
    if (taken > this.#options.window / 2) this.#makeRoom();
    return taken === 0 || taken + weight <= this.#options.window;
  }

  /** What waits for room fails with this flush: otherwise it would wait for as long as the server cannot flush. */
  #makeRoom(): void {
    if (this.#making || this.#window.length === 0) return;
    this.#making = true;
    const over = (error?: BlockError): void => {
      this.#making = false;
      if (error !== undefined) for (const change of this.#waiting.splice(0)) change.reject(error);
    };
    this.flush().then(() => over(), over);
  }

  #sendWaiting(): void {
    while (this.#waiting.length > 0 && this.#hasRoom(this.#waiting[0]!)) this.#gather(this.#waiting.shift()!);
  }

  /** A chunk that should be there is not. */
  chunkMissing(chunk: number): BlockError {
    const key = this.#options.keys.chunk(chunk);
    this.#options.logger.error('data is missing in the Redis server', {
      key,
      why: 'a key was deleted, evicted or expired, or a server took over that did not have it',
    });
    return chunkLost(key);
  }

  /** An answer of the server; some of them are the end. */
  #refused(error: unknown): BlockError {
    if (isFenced(error)) return this.#fail(fenced(error));
    if (isGone(error)) return this.#fail(gone());
    return requestError(error);
  }

  #leave(): void {
    this.#underWay--;
    if (this.#underWay === 0) for (const resolve of this.#settled.splice(0)) resolve();
  }

  #disrupted(): void {
    if (this.#state !== 'connected') return;
    this.#state = 'recovering';
    this.#disconnectedAt = performance.now();
    this.#options.logger.warn('the connection to the Redis server is lost; requests wait', {
      why: this.#options.clients.lastError?.message ?? 'it was closed',
    });
    this.#recovering = this.#recover();
  }

  async #connected(): Promise<void> {
    while (this.#state === 'recovering' && this.#failure === undefined)
      await new Promise<void>((resolve) => this.#flushes.push(resolve));
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #recover(): Promise<void> {
    const { clients, giveUpMs, logger, ownership } = this.#options;
    const signal = AbortSignal.any([this.#closing.signal, this.#options.signal]);
    const giveUp = giveUpMs === undefined ? undefined : setTimeout(() => this.#giveUp(giveUpMs), giveUpMs);
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          await sleep(backoffMs(attempt, RETRY), signal);
          // What is under way may still be carried out, and must not come after what is sent again.
          if (this.#underWay > 0) await new Promise<void>((resolve) => this.#settled.push(resolve));
          const { generation } = clients;
          await clients.ready();
          await ownership.assert();
          await this.#replay();
          if (clients.generation !== generation) continue;
          this.#resume();
          logger.info('the Redis server is back', { replayed: this.#window.length });
          return;
        } catch (error) {
          if (signal.aborted) {
            this.#fail(new BlockError('EIO', 'the disk was stopped while its Redis server was away'));
            return;
          }
          if (isReply(error) && (isFenced(error) || isGone(error))) {
            this.#refused(error);
            return;
          }
          if (attempt % 20 === 1) logger.warn('the Redis server cannot be used', { why: messageOf(error) });
        }
      }
    } finally {
      clearTimeout(giveUp);
    }
  }

  /** Each batch once those before it are answered: later changes of a place have to come later. */
  async #replay(): Promise<void> {
    const { clients, keys, ownership } = this.#options;
    for (const batch of batchesOf(this.#window, keys)) {
      // What we know to be there may be what this server has forgotten.
      const statuses = await sendBatch(clients, keys, ownership.token, batch, () => false);
      const missing = batch.changes.find((_, index) => statuses[index] !== 0);
      if (missing !== undefined) this.chunkMissing(missing.chunk);
    }
  }

  #resume(): void {
    this.#state = 'connected';
    this.#failure = undefined;
    this.#recoveries++;
    for (const { run } of this.#reads.splice(0)) run();
    for (const resolve of this.#flushes.splice(0)) resolve();
    this.#sendWaiting();
  }

  /** Requests fail from now on, but the server is looked for all the same. */
  #giveUp(afterMs: number): void {
    this.#state = 'recovering';
    this.#failure = new BlockError('EIO', `the Redis server has been away for more than ${afterMs / 1000} s`);
    this.#options.logger.error('requests fail from now on: the Redis server is away', { afterMs });
    this.#rejectAll(this.#failure);
  }

  #fail(error: BlockError): BlockError {
    if (this.#state === 'failed') return this.#failure!;
    this.#state = 'failed';
    this.#failure = error;
    if (!this.#closing.signal.aborted)
      this.#options.logger.error('the disk fails every request from now on', { why: error.message });
    this.#rejectAll(error);
    return error;
  }

  #rejectAll(error: BlockError): void {
    for (const change of this.#waiting.splice(0)) change.reject(error);
    for (const { reject } of this.#reads.splice(0)) reject(error);
    for (const resolve of this.#flushes.splice(0)) resolve();
  }
}

/** All of them have come to their end. */
async function settledAll(changes: readonly Change[]): Promise<void> {
  const results = await Promise.allSettled(changes.map(({ promise }) => promise));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

function fenced(cause: unknown): BlockError {
  return new BlockError('EIO', 'another gateway has taken the volume over: the server refuses our changes', {
    cause,
  });
}

function gone(): BlockError {
  return new BlockError(
    'EIO',
    'the volume is not on the Redis server any more: FLUSHALL, or a failover to a server that never had it',
  );
}
