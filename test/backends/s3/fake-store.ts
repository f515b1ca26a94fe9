import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type {
  DeleteFailure,
  FaultyUploads,
  ListOptions,
  ListPage,
  ObjectInfo,
  ObjectStore,
  PutOptions,
} from '../../../backends/s3/store/object-store.ts';
import { StoreError } from '../../../backends/s3/store/store-error.ts';
import { type IoVec, iovLength } from '../../../core/plugin.ts';

interface StoredObject {
  body: Buffer;
  readonly info: ObjectInfo;
}

/** Chances, 0 … 1, that a request meets its fate; each is drawn by itself. */
export interface FakeFaults {
  /** Refused with 503 before anything happens. */
  readonly throttled?: number;
  /** The connection breaks before anything happens. */
  readonly unreachable?: number;
  /** Done, but the answer is lost. */
  readonly lostResponse?: number;
  /** A put that times out, and takes place some requests later. */
  readonly latePut?: number;
}

interface FakeRequest {
  readonly operation: string;
  /** The key; of a deletion all keys, with spaces between them. */
  readonly key: string;
  /** Bytes asked for or sent. */
  readonly bytes: number;
}

/** A bucket in memory, shared by the stores that connect to it. */
export class FakeBucket {
  readonly objects = new Map<string, StoredObject>();
  /** Whether If-Match and If-None-Match mean anything. */
  conditional = true;
  /** Answers them with this status in place of writing. */
  unsupported: number | undefined;
  /** Whether an upload that is not what it says is refused. */
  verifies = true;
  /** Whether what has come of an upload that breaks off is kept. */
  keepsParts = false;
}

/** A connection to a `FakeBucket` with latencies and faults from a random source. */
export class FakeStore implements ObjectStore, FaultyUploads {
  readonly bucket: FakeBucket;
  readonly requests: FakeRequest[] = [];
  faults: FakeFaults = {};
  /** When set, awaited before each request is done. */
  gate: ((operation: string, key: string) => Promise<void> | undefined) | undefined;
  /** Fails every request with this. */
  broken: StoreError | undefined;
  disposed = 0;
  readonly #random: () => number;
  readonly #late: { countdown: number; readonly apply: () => void }[] = [];
  #killed = false;
  #cut = 0;
  #delayed: (() => void) | undefined;
  #delaysNext = false;

  constructor(bucket: FakeBucket, random: () => number = () => 0) {
    this.bucket = bucket;
    this.#random = random;
  }

  /** As when the process dies: nothing that has not arrived yet will. */
  kill(): void {
    this.#killed = true;
    this.#late.length = 0;
  }

  /** The next put times out; calling the result lets it arrive after all. */
  delayNextPut(): () => void {
    this.#delaysNext = true;
    return () => this.#delayed?.();
  }

  keys(prefix = ''): string[] {
    return [...this.bucket.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  }

  count(operation: string, part = ''): number {
    return this.requests.filter((request) => request.operation === operation && request.key.includes(part))
      .length;
  }

  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#request('head', key, signal, 0, () => this.bucket.objects.get(key)?.info);
  }

  read(key: string, offset: number, into: IoVec, signal?: AbortSignal): Promise<ObjectInfo | undefined> {
    return this.#request('read', key, signal, iovLength(into), () => {
      const object = this.bucket.objects.get(key);
      let at = offset;
      for (const segment of object === undefined ? [] : into) {
        segment.set(object!.body.subarray(at, at + segment.length));
        at += segment.length;
      }
      return object?.info;
    });
  }

  get(key: string, maxBytes: number, signal?: AbortSignal) {
    return this.#request('get', key, signal, 0, () => {
      const object = this.bucket.objects.get(key);
      if (object === undefined) return undefined;
      if (object.body.length > maxBytes) throw new StoreError('rejected', 'too large');
      return { info: object.info, body: new Uint8Array(object.body) };
    });
  }

  put(key: string, body: Uint8Array, options: PutOptions = {}, signal?: AbortSignal): Promise<string> {
    const copy = Buffer.from(body);
    const apply = () => this.#put(key, copy, options);
    const late = () => {
      try {
        apply();
      } catch {
        // Nobody listens any more.
      }
    };
    const delayed = this.#delaysNext;
    if (delayed || this.#random() < (this.faults.latePut ?? 0)) {
      this.requests.push({ operation: 'late put', key, bytes: copy.length });
      this.#delaysNext = false;
      if (delayed) this.#delayed = late;
      else this.#late.push({ countdown: 1 + Math.floor(this.#random() * 30), apply: late });
      return Promise.reject(new StoreError('timeout', 'no answer in time'));
    }
    return this.#request('put', key, signal, copy.length, apply);
  }

  /** With a signal: of these uploads every other one takes place, and none is answered before it aborts. */
  async putAs(
    key: string,
    body: Uint8Array,
    sent: Uint8Array | AsyncIterable<Uint8Array>,
    options: PutOptions = {},
    signal?: AbortSignal,
  ): Promise<string> {
    const arrived: Uint8Array[] = [];
    try {
      for await (const part of sent instanceof Uint8Array ? [sent] : sent) arrived.push(part);
    } catch {
      if (this.bucket.keepsParts) this.#put(key, Buffer.concat(arrived), options);
      throw new StoreError('unreachable', 'ECONNRESET');
    }
    const bytes = Buffer.concat(arrived);
    if (this.bucket.verifies && !bytes.equals(body))
      throw new StoreError('damaged', 'BadDigest', { status: 400 });
    if (signal === undefined) return await this.put(key, bytes, options);
    if (++this.#cut % 2 === 0) await this.put(key, bytes, options);
    if (!signal.aborted) await once(signal, 'abort');
    throw new StoreError('timeout', 'aborted');
  }

  deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<readonly DeleteFailure[]> {
    return this.#request('delete', keys.join(' '), signal, 0, () => {
      for (const key of keys) this.bucket.objects.delete(key);
      return [];
    });
  }

  list(prefix: string, options: ListOptions = {}, signal?: AbortSignal): Promise<ListPage> {
    return this.#request('list', prefix, signal, 0, () => {
      const names = new Set<string>();
      for (const key of this.keys(prefix)) {
        const end = options.delimiter ? key.indexOf(options.delimiter, prefix.length) : -1;
        names.add(end < 0 ? key : key.slice(0, end + 1));
      }
      const rest = [...names].filter((name) => name > (options.continuation ?? ''));
      const page = rest.slice(0, 3);
      const isPrefix = (name: string) => options.delimiter !== undefined && name.endsWith(options.delimiter);
      return {
        objects: page
          .filter((name) => !isPrefix(name))
          .map((key) => ({ key, size: this.bucket.objects.get(key)!.body.length })),
        prefixes: page.filter(isPrefix),
        next: rest.length > page.length ? page.at(-1) : undefined,
      };
    });
  }

  [Symbol.dispose](): void {
    this.disposed++;
  }

  #put(key: string, body: Buffer, { condition, metadata }: PutOptions): string {
    const { unsupported: status } = this.bucket;
    if (condition !== undefined && status !== undefined)
      throw new StoreError('rejected', 'NotImplemented', { status });
    const there = this.bucket.objects.get(key);
    const holds =
      condition === undefined ||
      (condition === 'absent' ? there === undefined : there?.info.etag === condition.etag);
    if (this.bucket.conditional && !holds) {
      throw new StoreError('precondition-failed', 'PreconditionFailed', { status: 412 });
    }
    const etag = `"${createHash('md5').update(body).digest('hex')}"`;
    this.bucket.objects.set(key, { body, info: { etag, size: body.length, metadata: metadata ?? {} } });
    return etag;
  }

  async #request<T>(
    operation: string,
    key: string,
    signal: AbortSignal | undefined,
    bytes: number,
    apply: () => T,
  ): Promise<T> {
    this.requests.push({ operation, key, bytes });
    await this.gate?.(operation, key);
    for (let turns = Math.floor(this.#random() * 4); turns > 0; turns--) await nextTurn();
    for (const late of [...this.#late]) {
      if (--late.countdown > 0) continue;
      this.#late.splice(this.#late.indexOf(late), 1);
      late.apply();
    }
    if (this.#killed) throw new StoreError('rejected', 'the process is dead');
    if (signal?.aborted) throw new StoreError('timeout', 'aborted');
    if (this.broken) throw this.broken;
    const { throttled = 0, unreachable = 0, lostResponse = 0 } = this.faults;
    if (this.#random() < throttled) throw new StoreError('throttled', 'SlowDown', { status: 503 });
    if (this.#random() < unreachable) throw new StoreError('unreachable', 'ECONNRESET');
    const value = apply();
    for (let turns = Math.floor(this.#random() * 4); turns > 0; turns--) await nextTurn();
    if (this.#random() < lostResponse) throw new StoreError('unreachable', 'socket hang up');
    return value;
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
