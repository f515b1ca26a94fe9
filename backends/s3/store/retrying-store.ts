import { randomUUID } from 'node:crypto';
import { backoffMs, type IoVec, iovLength, type Semaphore, sleep } from '../../../core/plugin.ts';
import type { Meter } from './meter.ts';
import type {
  DeleteFailure,
  ListOptions,
  ListPage,
  ObjectInfo,
  ObjectStore,
  PutOptions,
} from './object-store.ts';
import type { RequestClass } from './prices.ts';
import { isStoreError, StoreError } from './store-error.ts';
import type { StoreHealth } from './store-health.ts';

export interface RetryPolicy {
  /** First backoff; doubles from attempt to attempt. Milliseconds. */
  readonly baseMs: number;
  /** Longest backoff. */
  readonly maxMs: number;
  /** Longest backoff while the store refuses us (credentials, bucket): somebody has to act first. */
  readonly repairMaxMs: number;
  /** False: an error that somebody has to repair is final. */
  readonly waitForRepair: boolean;
  /** After this long a call fails. Undefined: never. */
  readonly giveUpAfterMs: number | undefined;
  /** How long the first attempt may take; each that takes too long doubles the time for the next. */
  readonly attemptMs: number;
}

/** For opening a volume: somebody waits at the prompt. */
export const ATTACH_POLICY: RetryPolicy = {
  baseMs: 100,
  maxMs: 2000,
  repairMaxMs: 0,
  waitForRepair: false,
  giveUpAfterMs: 30_000,
  attemptMs: 10_000,
};

/** For a disk that runs: the guest must not notice that the store was away for a while. */
export const RUN_POLICY: RetryPolicy = {
  baseMs: 100,
  maxMs: 3000,
  repairMaxMs: 30_000,
  waitForRepair: true,
  giveUpAfterMs: undefined,
  attemptMs: 20_000,
};

/** For what is good to have, and which nothing has to wait for. */
export const COURTESY_POLICY: RetryPolicy = { ...ATTACH_POLICY, giveUpAfterMs: 3000, attemptMs: 3000 };

const MAX_ATTEMPT_MS = 600_000;

/** Metadata by which we know an object as the result of one certain `put`. */
const WRITE_ID = 'blockgate-write';

/**
 * `ObjectStore` that tries again: with backoff and full jitter, bounded requests at once, and an answer of its own to
 * the question whether a conditional write whose answer was lost took place.
 */
export class RetryingStore implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #policy: RetryPolicy;
  readonly #slots: Semaphore;
  readonly #health: StoreHealth;
  readonly #meter: Meter | undefined;
  readonly #signal: AbortSignal;
  readonly #session = randomUUID();
  readonly #attempts = new Set<AbortController>();
  #writes = 0;

  /** Every call ends when `signal` aborts. `slots` bounds requests at once, also over several instances. */
  constructor(
    inner: ObjectStore,
    options: {
      readonly policy: RetryPolicy;
      readonly slots: Semaphore;
      readonly health: StoreHealth;
      /** Counts every attempt. */
      readonly meter?: Meter;
      readonly signal: AbortSignal;
    },
  ) {
    this.#inner = inner;
    this.#policy = options.policy;
    this.#slots = options.slots;
    this.#health = options.health;
    this.#meter = options.meter;
    this.#signal = options.signal;
    // One listener: to look for itself among hundreds would take each request longer than all the rest of this.
    this.#signal.addEventListener('abort', () => {
      for (const attempt of this.#attempts) attempt.abort(this.#signal.reason);
    });
  }

  head(key: string): Promise<ObjectInfo | undefined> {
    return this.#persist('HEAD', 0, (signal) => this.#inner.head(key, signal));
  }

  async read(key: string, offset: number, into: IoVec): Promise<ObjectInfo | undefined> {
    const info = await this.#persist('GET', 0, (signal) => this.#inner.read(key, offset, into, signal));
    if (info !== undefined) this.#meter?.received(Math.min(iovLength(into), Math.max(0, info.size - offset)));
    return info;
  }

  async get(key: string, maxBytes: number) {
    const object = await this.#persist('GET', 0, (signal) => this.#inner.get(key, maxBytes, signal));
    if (object !== undefined) this.#meter?.received(object.body.length);
    return object;
  }

  /**
   * As `ObjectStore.put`. After an attempt with an unknown outcome, `precondition-failed` may be our own success
   * speaking: the write id in the object's metadata tells, and its size whether all of it is there.
   */
  put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<string> {
    const id = `${this.#session}.${++this.#writes}`;
    const stamped = { ...options, metadata: { ...options.metadata, [WRITE_ID]: id } };
    let inDoubt = false;
    return this.#persist('PUT', body.length, async (signal) => {
      try {
        return await this.#inner.put(key, body, stamped, signal);
      } catch (error) {
        if (inDoubt && isStoreError(error, 'precondition-failed')) {
          this.#meter?.count('HEAD');
          const info = await this.#inner.head(key, signal);
          if (info?.metadata[WRITE_ID] === id) {
            if (info.size === body.length) return info.etag;
            // A store that keeps what came of an upload that broke off: ours, and nothing that anybody was promised.
            return await this.#inner.put(key, body, { ...stamped, condition: { etag: info.etag } }, signal);
          }
        }
        inDoubt ||= isStoreError(error) && error.ambiguous;
        throw error;
      }
    });
  }

  deleteMany(keys: readonly string[]): Promise<readonly DeleteFailure[]> {
    return this.#persist('DELETE', 0, (signal) => this.#inner.deleteMany(keys, signal));
  }

  list(prefix: string, options?: ListOptions): Promise<ListPage> {
    return this.#persist('LIST', 0, (signal) => this.#inner.list(prefix, options, signal));
  }

  /** Leaves the store below alone: whoever made that disposes of it. */
  [Symbol.dispose](): void {}

  async #persist<T>(kind: RequestClass, bytes: number, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { baseMs, maxMs, repairMaxMs, giveUpAfterMs } = this.#policy;
    const start = performance.now();
    let { attemptMs } = this.#policy;
    for (let attempt = 0; ; attempt++) {
      try {
        this.#meter?.count(kind, bytes);
        const value = await this.#attempt(run, attemptMs);
        this.#health.succeeded();
        return value;
      } catch (error) {
        if (this.#signal.aborted) throw this.#signal.reason as Error;
        if (!isStoreError(error)) throw error;
        if (!this.#worthRetrying(error)) {
          if (!error.repairable) this.#health.succeeded();
          throw error;
        }
        this.#health.failed(error);
        // Over a slow line a large chunk may need longer than anybody foresaw; it must get through some day.
        if (error.kind === 'timeout') attemptMs = Math.min(attemptMs * 2, MAX_ATTEMPT_MS);
        const delay = backoffMs(attempt, { baseMs, maxMs: error.repairable ? repairMaxMs : maxMs });
        const elapsed = performance.now() - start;
        if (giveUpAfterMs !== undefined && elapsed + delay > giveUpAfterMs) throw gaveUp(error, elapsed);
        await sleep(delay, this.#signal);
      }
    }
  }

  #worthRetrying(error: StoreError): boolean {
    return error.transient || (error.repairable && this.#policy.waitForRepair);
  }

  async #attempt<T>(run: (signal: AbortSignal) => Promise<T>, attemptMs: number): Promise<T> {
    using _slot = await this.#slots.acquire();
    this.#signal.throwIfAborted();
    const attempt = new AbortController();
    const timer = setTimeout(() => attempt.abort(), attemptMs);
    this.#attempts.add(attempt);
    try {
      return await run(attempt.signal);
    } finally {
      clearTimeout(timer);
      this.#attempts.delete(attempt);
    }
  }
}

function gaveUp(error: StoreError, elapsedMs: number): StoreError {
  const { kind, code, status } = error;
  return new StoreError(kind, `${error.message} (tried for ${Math.round(elapsedMs / 1000)} s)`, {
    code,
    status,
    cause: error,
  });
}
