import type {
  DeleteFailure,
  ListOptions,
  ListPage,
  ObjectInfo,
  ObjectStore,
  PutCondition,
  PutOptions,
} from '../../backends/s3/store/object-store.ts';
import { StoreError } from '../../backends/s3/store/store-error.ts';
import type { IoVec } from '../../core/plugin.ts';
import type { Actor, World } from './world.ts';

interface Stored {
  readonly body: Uint8Array;
  readonly info: ObjectInfo;
  /** Less than what was sent. */
  readonly isPart: boolean;
}

/** What a store does with conditions of writes besides keeping to them: ignores some, or answers with a status. */
export const CONDITIONS = ['kept', 'ignored', 'no If-Match', 'no If-None-Match', 400, 501] as const;
export type Conditions = (typeof CONDITIONS)[number];

/** Chances, 0 … 1, of what may befall a request. */
export interface Nemesis {
  /** Refused with 503. */
  throttled: number;
  /** The connection breaks before it arrives. */
  unreachable: number;
  /** Done, and the answer is lost. */
  lostResponse: number;
  /** An upload breaks half-way: it leaves nothing, or the store has all of it and keeps it whole, minutes later. */
  torn: number;
  /** What an upload that broke half-way leaves is a part of the object, whole as it may look. */
  halved: number;
  /** Nobody hears of it for long, and then it is done. */
  stalled: number;
  /** Done once more, later. */
  duplicated: number;
}

export const CALM: Nemesis = {
  throttled: 0,
  unreachable: 0,
  lostResponse: 0,
  torn: 0,
  halved: 0,
  stalled: 0,
  duplicated: 0,
};

/** A bucket, as every client sees it at once: S3 is strongly consistent. */
export class SimBucket {
  readonly objects: Map<string, Stored>;
  readonly conditions: Conditions;
  requests = 0;
  /** A part of an object was there at some time. */
  keptParts = false;
  #etags = 0;

  /** With what is in `other`. */
  constructor(conditions: Conditions = 'kept', other?: SimBucket) {
    this.conditions = conditions;
    this.objects = new Map(other?.objects);
    if (other === undefined) return;
    this.keptParts = other.keptParts;
    this.#etags = other.#etags;
  }

  get hasParts(): boolean {
    return [...this.objects.values()].some(({ isPart }) => isPart);
  }

  put(
    key: string,
    body: Uint8Array,
    { condition, metadata }: PutOptions,
    arrived: number = body.length,
  ): string {
    if (condition !== undefined) this.#try(condition, this.objects.get(key));
    const etag = `"${++this.#etags}"`;
    const info = { etag, size: arrived, metadata: metadata ?? {} };
    const isPart = arrived < body.length;
    this.keptParts ||= isPart;
    this.objects.set(key, { body: body.subarray(0, arrived), info, isPart });
    return etag;
  }

  #try(condition: PutCondition, there: Stored | undefined): void {
    const { conditions } = this;
    if (typeof conditions === 'number')
      throw new StoreError('rejected', 'no conditions', { status: conditions });
    const ignored = condition === 'absent' ? 'no If-None-Match' : 'no If-Match';
    if (conditions === 'ignored' || conditions === ignored) return;
    const holds = condition === 'absent' ? there === undefined : there?.info.etag === condition.etag;
    if (!holds) throw new StoreError('precondition-failed', '412', { status: 412 });
  }
}

/** One process's way to the bucket: with latency, and what a nemesis does. */
export class SimStore implements ObjectStore {
  readonly #world: World;
  readonly #bucket: SimBucket;
  readonly #actor: Actor;
  readonly #nemesis: Nemesis;

  constructor(world: World, bucket: SimBucket, actor: Actor, nemesis: Nemesis) {
    this.#world = world;
    this.#bucket = bucket;
    this.#actor = actor;
    this.#nemesis = nemesis;
  }

  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#request(signal, false, () => this.#bucket.objects.get(key)?.info);
  }

  read(key: string, offset: number, into: IoVec, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#request(signal, false, () => {
      const object = this.#bucket.objects.get(key);
      let at = offset;
      for (const segment of object === undefined ? [] : into) {
        // What was in memory before may be the very bytes that are missing.
        if (object!.isPart) segment.fill(0);
        segment.set(object!.body.subarray(at, at + segment.length));
        at += segment.length;
      }
      return object?.info;
    });
  }

  get(key: string, _maxBytes: number, signal?: AbortSignal) {
    return this.#request(signal, false, () => {
      const object = this.#bucket.objects.get(key);
      return object && { info: object.info, body: Uint8Array.from(object.body) };
    });
  }

  put(key: string, body: Uint8Array, options: PutOptions = {}, signal?: AbortSignal): Promise<string> {
    const put = (arrived?: number): string => this.#bucket.put(key, body, options, arrived);
    return this.#request(signal, true, put, () => void put(this.#world.below(body.length)));
  }

  deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<readonly DeleteFailure[]> {
    return this.#request(signal, true, () => {
      for (const key of keys) this.#bucket.objects.delete(key);
      return [];
    });
  }

  list(prefix: string, _options?: ListOptions, signal?: AbortSignal): Promise<ListPage> {
    return this.#request(signal, false, () => {
      const objects = [...this.#bucket.objects]
        .filter(([key]) => key.startsWith(prefix))
        .map(([key, { info }]) => ({ key, size: info.size }));
      return { objects, prefixes: [], next: undefined };
    });
  }

  [Symbol.dispose](): void {}

  /** `partly`: as after half of it has arrived. */
  #request<T>(
    signal: AbortSignal | undefined,
    changes: boolean,
    apply: () => T,
    partly?: () => void,
  ): Promise<T> {
    const world = this.#world;
    this.#bucket.requests++;
    const { throttled, unreachable, lostResponse, torn, halved, stalled, duplicated } = this.#nemesis;
    const fate = world.random();
    const there = 1 + world.below(40);
    const back = 1 + world.below(10);
    return new Promise<T>((resolve, reject) => {
      let answered = false;
      const answer = (ms: number, settle: () => void): void => {
        world.after(ms, this.#actor, () => {
          if (answered) return;
          answered = true;
          signal?.removeEventListener('abort', abort);
          settle();
        });
      };
      const abort = (): void => answer(0, () => reject(new StoreError('timeout', 'no answer in time')));
      signal?.addEventListener('abort', abort, { once: true });
      if (fate < throttled) {
        answer(there + back, () => reject(new StoreError('throttled', '503', { status: 503 })));
        return;
      }
      if (fate < throttled + unreachable) {
        answer(there, () => reject(new StoreError('unreachable', 'ECONNRESET')));
        return;
      }
      if (changes && world.chance(torn)) {
        answer(there, () => reject(new StoreError('unreachable', 'EPIPE')));
        if (partly !== undefined && world.chance(halved))
          world.after(there, undefined, () => unheard(partly));
        else if (world.chance(0.5))
          world.after(there + world.below(300_000), undefined, () => unheard(apply));
        return;
      }
      const isLost = fate < throttled + unreachable + lostResponse;
      const isStalled = !isLost && world.chance(stalled);
      // Up to longer than anything is kept for.
      const delay = isStalled ? 5_000 + world.below(300_000) : there;
      world.after(delay, undefined, () => {
        let settle: () => void;
        try {
          const value = apply();
          settle = () => resolve(value);
        } catch (error) {
          settle = () => reject(error as Error);
        }
        if (isLost) settle = () => reject(new StoreError('unreachable', 'socket hang up'));
        answer(back, settle);
      });
      if (changes && world.chance(duplicated))
        world.after(delay + world.below(60_000), undefined, () => unheard(apply));
    });
  }
}

function unheard(apply: () => unknown): void {
  try {
    apply();
  } catch {
    // Nobody listens.
  }
}
