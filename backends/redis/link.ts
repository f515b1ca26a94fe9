// hot path: see ARCHITECTURE.md "Data plane"

import { type Bitmap, BlockError, backoffMs, type IoVec, type Logger, sleep } from '../../core/plugin.ts';
import { type Change, chunkLost } from './change.ts';
import { type ChangeBatch, sendBatch } from './change-batch.ts';
import { ChangeQueue } from './change-queue.ts';
import type { RedisClients } from './clients.ts';
import type { Durability } from './durability.ts';
import { fenced, gone, isFenced, isGone, isReply, messageOf, requestError } from './errors.ts';
import type { KeySpace } from './keys.ts';
import type { Ownership } from './ownership.ts';
import { RangeRead, type ReadOwner } from './range-read.ts';
import { ReplayWindow } from './replay-window.ts';
import { RespError, type RespReply } from './resp-connection.ts';
import type { WriteMemory } from './write-memory.ts';

const RETRY = { baseMs: 50, maxMs: 2_000 } as const;

export interface LinkOptions {
  readonly clients: RedisClients;
  readonly keys: KeySpace;
  readonly ownership: Ownership;
  readonly durability: Durability;
  /** By chunk: it exists, as far as we know. */
  readonly present: Bitmap;
  /** Where the writes are. */
  readonly memory: WriteMemory;
  readonly logger: Logger;
  /** Aborts when it is time to give up waiting. */
  readonly signal: AbortSignal;
  /** Bytes of unflushed changes that are kept. */
  readonly window: number;
  /** Milliseconds without a server until requests fail; undefined: never. */
  readonly giveUpMs: number | undefined;
}

export type LinkState = 'connected' | 'recovering' | 'given up' | 'failed';

/**
 * The way to a volume, across connections and failovers. When a connection breaks, nothing new is sent until what was
 * under way has come to its end; then the volume is claimed again, what the server may have forgotten is sent again in its
 * order, and everything that waited goes on. What was read meanwhile may have come from a server that had forgotten
 * something: it is read again.
 */
export class RedisLink implements AsyncDisposable, ReadOwner {
  readonly #options: LinkOptions;
  readonly #closing = new AbortController();
  readonly #window: ReplayWindow;
  #pendingBytes = 0;
  readonly #queue: ChangeQueue;
  #willSend = false;
  /** Changes that wait: for a server, or for room in the window. Oldest first. */
  #waiting: Change[] = [];
  #reads: RangeRead[] = [];
  /** Does what is left of a read that got fewer bytes than it asked for. */
  onShort!: (read: RangeRead) => Promise<void>;
  /** A server is there again, maybe another one: sets `danger`. */
  onFound!: () => Promise<void>;
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
    this.#queue = new ChangeQueue(options.keys, options.clients.hot.lanes);
    this.#window = new ReplayWindow(options.memory);
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
      unflushed: `${this.#window.bytes} bytes`,
      epoch: this.#options.ownership.epoch,
    };
  }

  /** While this is set, flushes fail: what they would promise may not hold. */
  set danger(why: string | undefined) {
    this.#danger = why;
  }

  /** Settles when the server has carried it out; rejects with a `BlockError`. */
  change(change: Change): Promise<void> {
    if (this.#failure !== undefined) change.reject(this.#failure);
    else if (this.#state !== 'connected' || this.#waiting.length > 0 || !this.#hasRoom(change))
      this.#waiting.push(change);
    else this.#gather(change);
    return change.promise;
  }

  /** Of one chunk, into the part of `iov` that begins at byte `at`. */
  read(chunk: number, from: number, length: number, iov: IoVec, at: number): Promise<void> {
    const read = new RangeRead(this, chunk, from, length, iov, at);
    this.#ask(read);
    return read.promise;
  }

  replied(read: RangeRead, reply: RespReply | Error): void {
    if (reply === read.length) this.#wasRead(read);
    else if (reply instanceof Error) this.#wasNotRead(read, reply);
    else
      this.onShort(read).then(
        () => this.#wasRead(read),
        (error: unknown) => this.#wasNotRead(read, error),
      );
  }

  lost(read: RangeRead): void {
    this.#leave();
    this.#disrupted();
    this.#ask(read);
  }

  /** Everything that was answered before is durable. */
  async flush(): Promise<void> {
    const { clients, durability } = this.#options;
    for (;;) {
      await this.#connected();
      if (this.#danger !== undefined)
        throw new BlockError('EIO', `nothing can be promised at the moment: ${this.#danger}`);
      const mark = this.#window.last;
      const { generation } = clients;
      this.#underWay++;
      try {
        await durability.flush(clients);
        // Of another connection than the one that carried the writes, the answer says nothing.
        if (clients.generation !== generation) continue;
        this.#window.flushed(mark);
        if (this.#state === 'connected') this.#sendWaiting();
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

  #ask(read: RangeRead): void {
    if (this.#failure !== undefined) read.reject(this.#failure);
    else if (this.#state !== 'connected') this.#reads.push(read);
    else {
      const { clients, keys } = this.#options;
      read.generation = clients.generation;
      this.#underWay++;
      clients.hot.read(keys.chunk(read.chunk), read);
    }
  }

  #wasRead(read: RangeRead): void {
    this.#leave();
    // Otherwise it may have come from a server that had forgotten something.
    if (this.#options.clients.generation === read.generation) read.resolve();
    else this.#ask(read);
  }

  #wasNotRead(read: RangeRead, error: unknown): void {
    if (!BlockError.is(error) && !isReply(error)) {
      this.lost(read);
      return;
    }
    this.#leave();
    read.reject(BlockError.is(error) ? error : this.#refused(error));
  }

  #gather(change: Change): void {
    this.#pendingBytes += change.weight;
    this.#queue.add(change);
    this.#sendSoon();
  }

  /** Changes of one turn of the event loop leave together. */
  #sendSoon(): void {
    if (this.#willSend) return;
    this.#willSend = true;
    process.nextTick(this.#sendQueue);
  }

  readonly #sendQueue = (): void => {
    this.#willSend = false;
    if (this.#state !== 'connected') return;
    for (let batch = this.#queue.next(); batch !== undefined; batch = this.#queue.next())
      void this.#send(batch);
  };

  async #send(batch: ChangeBatch): Promise<void> {
    const { clients, keys, ownership, present } = this.#options;
    this.#underWay++;
    try {
      const isThere = (chunk: number) => present.has(chunk);
      const statuses = await sendBatch(clients.hot, keys, ownership.token, batch, isThere);
      for (let i = 0; i < batch.changes.length; i++) {
        const [change, status] = [batch.changes[i]!, statuses[i]];
        this.#pendingBytes -= change.weight;
        if (status === 0) this.#answered(change);
        else if (status instanceof RespError) change.reject(this.#refused(status));
        else change.reject(this.chunkMissing(change.chunk));
      }
    } catch (error) {
      for (const { weight } of batch.changes) this.#pendingBytes -= weight;
      if (isReply(error)) {
        const refused = this.#refused(error);
        for (const change of batch.changes) change.reject(refused);
      } else {
        this.#disrupted();
        if (this.#failure === undefined) this.#waiting.unshift(...batch.changes);
        else for (const change of batch.changes) change.reject(this.#failure);
      }
    } finally {
      this.#queue.over(batch);
      this.#leave();
    }
    if (this.#queue.length > 0) this.#sendSoon();
    else if (this.#state === 'connected' && this.#waiting.length > 0) this.#sendWaiting();
  }

  #answered(change: Change): void {
    this.#window.add(change);
    // Not before the server has it: until then, a read that finds nothing there is right.
    if (change.kind === 'w') this.#options.present.set(change.chunk);
    else if (change.kind === 'd') this.#options.present.clear(change.chunk);
    change.resolve();
  }

  /** Changes that have not left. */
  #takeBack(): Change[] {
    const changes = this.#queue.clear();
    for (const { weight } of changes) this.#pendingBytes -= weight;
    return changes;
  }

  #hasRoom({ weight }: Change): boolean {
    const taken = this.#window.bytes + this.#pendingBytes;
    if (taken > this.#options.window / 2) this.#makeRoom();
    return taken === 0 || taken + weight <= this.#options.window;
  }

  /** What waits for room fails with this flush: otherwise it would wait for as long as the server cannot flush. */
  #makeRoom(): void {
    if (this.#making || this.#window.last === undefined) return;
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
    this.#waiting.unshift(...this.#takeBack());
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
          await this.onFound();
          await this.#replay();
          if (clients.generation !== generation) continue;
          this.#resume();
          logger.info('the Redis server is back', { replayed: this.#window.changes.length });
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
    const queue = new ChangeQueue(keys, 1);
    for (const change of this.#window.changes) queue.add(change);
    for (let batch = queue.next(); batch !== undefined; batch = queue.next()) {
      // What we know to be there may be what this server has forgotten.
      const statuses = await sendBatch(clients.hot, keys, ownership.token, batch, () => false);
      queue.over(batch);
      const missing = batch.changes.find((_, index) => statuses[index] !== 0);
      if (missing !== undefined) this.chunkMissing(missing.chunk);
    }
  }

  #resume(): void {
    this.#state = 'connected';
    this.#failure = undefined;
    this.#recoveries++;
    for (const read of this.#reads.splice(0)) this.#ask(read);
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
    for (const change of [...this.#takeBack(), ...this.#waiting.splice(0)]) change.reject(error);
    for (const read of this.#reads.splice(0)) read.reject(error);
    for (const resolve of this.#flushes.splice(0)) resolve();
  }
}
