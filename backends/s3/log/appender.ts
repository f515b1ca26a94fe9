// hot path: see ARCHITECTURE.md "Data plane"

import { BlockError, type IoVec, type Logger, type MaybePromise } from '../../../core/plugin.ts';
import { toBlockError } from '../errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { isStoreError, StoreError } from '../store/store-error.ts';
import { Batch, type Signature, zeroWeight } from './batch.ts';
import type { Pace } from './collection/pace.ts';
import { FencedError } from './fenced.ts';
import type { FrameCodec } from './frames/frame-codec.ts';
import type { Journal } from './journal/journal.ts';
import type { LogObject, ObjectTable } from './log-object.ts';
import { applyToMap } from './map/apply.ts';
import type { BlockMap } from './map/block-map.ts';
import type { LogNames } from './names.ts';
import { BLOCK } from './object-header.ts';
import type { Overlay } from './overlay.ts';
import type { LogEnd } from './recovery.ts';
import { Room } from './room.ts';
import { type SealedBatch, Sealer } from './sealer.ts';

/** Objects on their way at once. Fewer than `FENCE_WINDOW`, so that a fence stops all of them. */
export const MAX_IN_FLIGHT = 6;
/** An object is sealed at this size while nothing is on its way, and grows up to the other one while something is. Bytes. */
const TARGET = 8 * 2 ** 20;
const LARGEST = 32 * 2 ** 20;
/** After a request was given up, until it is tried again. Milliseconds. */
const AGAIN_MS = 1000;

export interface AppenderOptions {
  /** Tries again by itself. */
  readonly store: ObjectStore;
  readonly names: LogNames;
  readonly table: ObjectTable;
  readonly map: BlockMap;
  readonly overlay: Overlay;
  readonly signature: Signature;
  readonly codec: FrameCodec;
  readonly epoch: number;
  /** What nobody flushes is stored after so long all the same. Milliseconds. */
  readonly maxAgeMs: number;
  /** Where the log ended before, and the hash of the header there. */
  readonly last: LogEnd;
  /** Memory for what is not stored yet. Bytes. */
  readonly maxBytes: number;
  /** How fast guests may write, for the collection. */
  readonly pace: Pace;
  readonly logger: Logger;
  /** An object leaves the memory. */
  readonly onStored: (object: LogObject, data: Buffer) => void;
  /** An object became durable. */
  readonly onDurable: (object: LogObject) => void;
  /** The disk cannot go on. */
  readonly onFailed: (reason: BlockError) => void;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** An object on its way, until it is durable. */
interface Sending {
  readonly sealed: SealedBatch;
  /** The memory that it takes. Bytes. */
  readonly bytes: number;
  /** Flushes that wait for it. */
  readonly flushes: Waiter[];
  state: 'waiting' | 'sent' | 'stored';
}

/**
 * The end of the log. Changes are gathered in a batch in memory; a batch is sealed into an object, and objects are stored
 * by conditional creation, several at once. One is durable once it and all before it are stored: only then does a flush
 * that waits for it settle, and only then does the map know of it.
 */
export class Appender {
  readonly #options: AppenderOptions;
  /** Where writes and flushes are answered, in place of the store. */
  journal: Journal | undefined;
  #open: Batch;
  #openFlushes: Waiter[] = [];
  readonly #sealer: Sealer;
  readonly #sealed: Sending[] = [];
  #inFlight = 0;
  #durable: LogEnd;
  #requests = 0;
  readonly #room: Room;
  #failure: BlockError | undefined;
  #age: NodeJS.Timeout | undefined;
  #pace: NodeJS.Timeout | undefined;
  #sealScheduled = false;
  #sealedAt = 0;
  /** How long storing an object takes, on average. Milliseconds. */
  #latency = 0;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(options: AppenderOptions) {
    this.#options = options;
    this.#durable = options.last;
    this.#sealer = new Sealer({
      ...options,
      onChange: () => this.#send(),
      onFailed: (reason) => this.#fail(reason),
    });
    this.#open = new Batch(options.table.add(options.names));
    this.#room = new Room({ ...options, onFull: () => this.hurry() });
  }

  /** The last object that is durable, or the last one of before. */
  get durable(): LogEnd {
    return this.#durable;
  }

  get failure(): BlockError | undefined {
    return this.#failure;
  }

  /** Memory of what is not durable. */
  get bytes(): number {
    return this.#room.bytes;
  }

  /** For how long writers have waited for the collection. Milliseconds. */
  get heldMs(): number {
    return this.#room.heldMs;
  }

  /** Nothing is waiting to become durable. */
  get isIdle(): boolean {
    return this.#sealed.length === 0 && this.#open.isEmpty;
  }

  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  write(lba: number, blocks: number, iov: IoVec, from: number): MaybePromise<void> {
    this.throwIfFailed();
    const bytes = blocks * BLOCK;
    if (this.#room.has(bytes, blocks)) return this.#write(lba, blocks, iov, from);
    return this.#room.wait(bytes, blocks, () => this.#write(lba, blocks, iov, from));
  }

  zero(lba: number, blocks: number): MaybePromise<void> {
    this.throwIfFailed();
    const weight = zeroWeight(blocks);
    if (this.#room.has(weight, 0)) return this.#zero(lba, blocks);
    return this.#room.wait(weight, 0, () => this.#zero(lba, blocks));
  }

  /** Settles when everything that was written before is durable: in the journal, where there is one. */
  flush(): MaybePromise<void> {
    this.throwIfFailed();
    return this.journal === undefined ? this.flushToStore() : this.journal.flush();
  }

  /** What is gathered is sent now, unless something is on its way. */
  hurry(): void {
    if (this.#failure === undefined && this.#underWay === 0 && !this.#open.isEmpty) this.#seal();
  }

  /** Settles when the store has everything that was written before. */
  flushToStore(): MaybePromise<void> {
    this.throwIfFailed();
    if (this.isIdle) return undefined;
    return new Promise((resolve, reject) => {
      if (this.#open.isEmpty) {
        this.#sealed.at(-1)!.flushes.push({ resolve, reject });
        return;
      }
      this.#openFlushes.push({ resolve, reject });
      if (this.#sealScheduled) return;
      this.#sealScheduled = true;
      // Flushes of one turn of the event loop share an object.
      queueMicrotask(() => {
        this.#sealScheduled = false;
        this.#sealIfDue();
      });
    });
  }

  /** Puts an object of copies at the end of the log. */
  append(fill: (batch: Batch) => void): void {
    this.throwIfFailed();
    const batch = new Batch(this.#options.table.add(this.#options.names));
    fill(batch);
    if (!this.#open.isEmpty) this.#seal();
    this.#room.bytes += batch.bytes;
    this.#enqueue(batch, []);
  }

  /** Nothing is accepted any more, and nothing waits any longer. */
  stop(reason: BlockError): void {
    this.#fail(reason);
  }

  #write(lba: number, blocks: number, iov: IoVec, from: number): MaybePromise<void> {
    const journaled = this.journal?.write(this.#sealer.nextSeq, lba, blocks, iov, from);
    const added = this.#open.write(++this.#requests, lba, blocks, iov, from, this.#options.overlay);
    this.#room.bytes += added * BLOCK;
    this.#opened();
    if (this.#open.bytes >= TARGET) this.#sealIfDue();
    return journaled;
  }

  #zero(lba: number, blocks: number): MaybePromise<void> {
    const journaled = this.journal?.zero(this.#sealer.nextSeq, lba, blocks);
    this.#open.zero(++this.#requests, lba, blocks, this.#options.overlay);
    this.#room.bytes += zeroWeight(blocks);
    this.#opened();
    return journaled;
  }

  #opened(): void {
    if (this.#age !== undefined) return;
    this.#age = setTimeout(() => {
      this.#age = undefined;
      if (!this.#open.isEmpty && this.#failure === undefined) this.#seal();
    }, this.#options.maxAgeMs);
    this.#age.unref?.();
  }

  /** Objects that are being encoded or sent. */
  get #underWay(): number {
    return this.#sealer.encoding + this.#inFlight;
  }

  #sealIfDue(): void {
    if (this.#open.isEmpty || this.#failure !== undefined) return;
    const { bytes } = this.#open;
    if (bytes >= LARGEST || (bytes >= TARGET && this.#underWay === 0)) this.#seal();
    else if (this.#openFlushes.length > 0 && this.#underWay < MAX_IN_FLIGHT) {
      // Evenly over the time that one takes: what comes in between shares an object.
      const wait =
        this.#underWay === 0 ? 0 : this.#sealedAt + this.#latency / MAX_IN_FLIGHT - performance.now();
      if (wait <= 0) this.#seal();
      else
        this.#pace ??= setTimeout(() => {
          this.#pace = undefined;
          this.#sealIfDue();
        }, wait);
    }
  }

  #seal(): void {
    clearTimeout(this.#age);
    this.#age = undefined;
    const batch = this.#open;
    const flushes = this.#openFlushes;
    // The next one may be as large.
    this.#open = new Batch(this.#options.table.add(this.#options.names), batch.object.blocks);
    this.#openFlushes = [];
    this.#sealedAt = performance.now();
    this.#enqueue(batch, flushes);
  }

  #enqueue(batch: Batch, flushes: Waiter[]): void {
    const sealed = this.#sealer.seal(batch);
    this.#sealed.push({ sealed, bytes: batch.weight, flushes, state: 'waiting' });
    this.#send();
  }

  #send(): void {
    if (this.#failure !== undefined) return;
    // Counted from the first that is not stored: what lies behind a gap must end within the window of a fence.
    for (let i = 0; i < Math.min(MAX_IN_FLIGHT, this.#sealed.length); i++) {
      const sending = this.#sealed[i]!;
      if (sending.state === 'waiting' && sending.sealed.object !== undefined) void this.#store(sending);
    }
  }

  async #store(sending: Sending): Promise<void> {
    const { key, object } = sending.sealed;
    sending.state = 'sent';
    this.#inFlight++;
    const start = performance.now();
    try {
      await this.journal?.ahead();
      await this.#options.store.put(key, object!.body, { condition: 'absent' });
      const took = performance.now() - start;
      this.#latency = this.#latency === 0 ? took : this.#latency * 0.8 + took * 0.2;
    } catch (error) {
      if (!(await this.#isStored(sending, error))) return;
    } finally {
      this.#inFlight--;
    }
    if (this.#failure !== undefined) return;
    sending.state = 'stored';
    while (this.#sealed[0]?.state === 'stored') this.#applied(this.#sealed.shift()!);
    this.#send();
    this.#room.wake();
    this.#sealIfDue();
  }

  /** After storing it failed with `error`: it may be there all the same. False: this object goes no further now. */
  async #isStored(sending: Sending, error: unknown): Promise<boolean> {
    if (this.#failure !== undefined) return false;
    if (!isStoreError(error)) {
      this.#fail(
        error instanceof BlockError ? error : new BlockError('EIO', String(error), { cause: error }),
      );
      return false;
    }
    let problem: unknown = error;
    if (error.kind === 'precondition-failed') {
      try {
        const { key, object } = sending.sealed;
        const { header } = object!;
        const found = Buffer.alloc(header.length);
        const info = await this.#options.store.read(key, 0, [found]);
        const isOurs = info !== undefined && found.equals(header);
        if (isOurs && info.size === object!.body.length) return true;
        if (!isOurs) {
          this.#fail(new FencedError('log'));
          return false;
        }
        problem = new StoreError('damaged', `of ${key} the store has ${info.size} bytes, and not all`);
      } catch (failure) {
        problem = failure;
      }
    }
    // Given up for now. What is in memory stays there, and those who wait are told.
    this.#options.logger.error('an object could not be stored; trying again', { reason: String(problem) });
    this.#rejectAll(toBlockError(problem));
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      sending.state = 'waiting';
      this.#send();
    }, AGAIN_MS);
    timer.unref?.();
    this.#timers.add(timer);
    return false;
  }

  #applied({ sealed, bytes, flushes }: Sending): void {
    const { map, table, overlay, onStored, onDurable } = this.#options;
    const { place } = sealed;
    const { object, extents } = sealed.batch;
    applyToMap(map, table, object, extents);
    for (const { kind, lba, blocks } of extents) if (kind !== 'copy') overlay.drop(lba, blocks, object.id);
    if (object.data !== undefined) onStored(object, object.data);
    object.data = undefined;
    this.#room.bytes -= bytes;
    this.#durable = { place, hash: sealed.object!.hash };
    this.journal?.release(place.seq);
    onDurable(object);
    for (const { resolve } of flushes) resolve();
  }

  #fail(reason: BlockError): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    clearTimeout(this.#age);
    clearTimeout(this.#pace);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#rejectAll(reason);
    void this.journal?.stop(reason);
    this.#options.onFailed(reason);
  }

  #rejectAll(error: unknown): void {
    for (const { flushes } of this.#sealed) for (const { reject } of flushes.splice(0)) reject(error);
    for (const { reject } of this.#openFlushes.splice(0)) reject(error);
    this.#room.rejectAll(error);
  }
}
