// hot path: see ARCHITECTURE.md "Data plane"

import { copyIn, type IoVec, iovLength, type Semaphore } from '../../../core/plugin.ts';
import type { Meter } from './meter.ts';
import type {
  DeleteFailure,
  ListOptions,
  ListPage,
  ObjectInfo,
  ObjectStore,
  PutOptions,
} from './object-store.ts';
import { RecentLatencies } from './recent-latencies.ts';
import { isStoreError } from './store-error.ts';

/** Larger reads are read ahead, which nobody waits for. Bytes. */
const MAX_BYTES = 256 * 1024;
/** A read that takes longer than this share of the others is late. */
const SLOW = 0.95;
/** Before so many reads nothing is known of the store. */
const MIN_READS = 100;
/** A store that answers faster needs no help. Milliseconds. */
const MIN_WAIT_MS = 5;
/** Second requests for each first one, and how many may be saved up. */
const BUDGET = 0.02;
const MAX_SAVED = 10;
/** After the store has asked for less, it gets no more than it has to. Milliseconds. */
const THROTTLED_MS = 10_000;

/**
 * A read that takes longer than nearly all others is sent a second time, and the first answer counts: most often the store
 * was slow in one place only. Of every hundred reads at most two are, none while the store says that it has too much to do,
 * and none while requests wait for a slot.
 */
export class HedgedStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #slots: Pick<Semaphore, 'waiting'>;
  readonly #meter: Meter;
  readonly #latencies = new RecentLatencies();
  #tokens = 0;
  #throttledUntil = 0;

  /** `slots`: those of the requests above. Disposes of `inner`. */
  constructor(inner: ObjectStore, slots: Pick<Semaphore, 'waiting'>, meter: Meter) {
    this.#inner = inner;
    this.#slots = slots;
    this.#meter = meter;
  }

  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#inner.head(key, signal);
  }

  get(key: string, maxBytes: number, signal?: AbortSignal) {
    return this.#inner.get(key, maxBytes, signal);
  }

  deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<readonly DeleteFailure[]> {
    return this.#watch(this.#inner.deleteMany(keys, signal));
  }

  list(prefix: string, options?: ListOptions, signal?: AbortSignal): Promise<ListPage> {
    return this.#inner.list(prefix, options, signal);
  }

  put(key: string, body: Uint8Array, options?: PutOptions, signal?: AbortSignal): Promise<string> {
    return this.#watch(this.#inner.put(key, body, options, signal));
  }

  read(key: string, offset: number, into: IoVec, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    const bytes = iovLength(into);
    if (bytes > MAX_BYTES) return this.#watch(this.#inner.read(key, offset, into, signal));
    this.#tokens = Math.min(MAX_SAVED, this.#tokens + BUDGET);
    return this.#hedged(key, offset, into, bytes, signal);
  }

  [Symbol.dispose](): void {
    this.#inner[Symbol.dispose]();
  }

  async #hedged(
    key: string,
    offset: number,
    into: IoVec,
    bytes: number,
    signal: AbortSignal | undefined,
  ): Promise<ObjectInfo | undefined> {
    const [first, second] = [new AbortController(), new AbortController()];
    const abort = () => {
      first.abort(signal!.reason);
      second.abort(signal!.reason);
    };
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
    let timer: NodeJS.Timeout | undefined;
    try {
      const start = performance.now();
      const primary = this.#watch(this.#inner.read(key, offset, into, first.signal));
      const patience = this.#patience();
      let isLate = false;
      if (patience !== undefined) {
        const late = new Promise<true>((resolve) => {
          timer = setTimeout(resolve, patience, true);
        });
        isLate = (await Promise.race([primary.then(() => false), late])) && this.#mayHedge();
      }
      const info = await (isLate ? this.#twice(key, offset, into, bytes, primary, first, second) : primary);
      this.#latencies.add(performance.now() - start);
      return info;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Whichever of `primary` and a second request answers first; the other one is ended. */
  async #twice(
    key: string,
    offset: number,
    into: IoVec,
    bytes: number,
    primary: Promise<ObjectInfo | undefined>,
    first: AbortController,
    second: AbortController,
  ): Promise<ObjectInfo | undefined> {
    this.#tokens--;
    this.#meter.hedged(bytes);
    // Not into the same memory: both may be writing.
    const copy = Buffer.allocUnsafeSlow(bytes);
    const hedge = this.#watch(this.#inner.read(key, offset, [copy], second.signal));
    try {
      const winner = await Promise.any([
        primary.then((info) => ({ info, isHedge: false })),
        hedge.then((info) => ({ info, isHedge: true })),
      ]);
      if (!winner.isHedge) {
        second.abort();
        return winner.info;
      }
      first.abort();
      // It writes until it has ended.
      await primary.catch(() => undefined);
      const { info } = winner;
      if (info !== undefined)
        copyIn(into, copy.subarray(0, Math.max(0, Math.min(bytes, info.size - offset))), 0);
      this.#meter.hedgeWon();
      return info;
    } catch {
      // Both failed.
      return await primary;
    }
  }

  /** After how long a read is late, in milliseconds; undefined where it may take as long as it wants. */
  #patience(): number | undefined {
    if (this.#latencies.count < MIN_READS || !this.#mayHedge()) return undefined;
    return Math.max(MIN_WAIT_MS, this.#latencies.quantile(SLOW));
  }

  #mayHedge(): boolean {
    return this.#tokens >= 1 && this.#slots.waiting === 0 && performance.now() >= this.#throttledUntil;
  }

  async #watch<T>(request: Promise<T>): Promise<T> {
    try {
      return await request;
    } catch (error) {
      if (isStoreError(error, 'throttled')) this.#throttledUntil = performance.now() + THROTTLED_MS;
      throw error;
    }
  }
}
