import {
  type DeviceStatus,
  type Extent,
  IoFlag,
  type IoFlags,
  type IoVec,
  type ResolvedDevice,
} from '../../api/device.ts';
import { PassThrough } from '../../block/pass-through.ts';
import { RangeLock } from '../../block/range-lock.ts';
import { copyIn, copyOut, iovLength } from '../../util/iov.ts';
import { settleAll } from '../../util/settle-all.ts';
import type { PageStorage } from './page-storage.ts';
import type { CachedPage, PageTable } from './page-table.ts';

/** Neighbouring pages are written back, or fetched ahead, together, up to this. Bytes. */
const MAX_RUN = 1024 * 1024;
/** Runs that are written, or fetched, at a time. */
const PARALLEL_RUNS = 8;

export interface CacheLayerOptions {
  readonly pageSize: number;
  /** Writes stay here until a flush, or until their place is needed. */
  readonly writeBack: boolean;
  readonly table: PageTable;
  readonly storage: PageStorage;
  /** Told when everything is written back; before the storage is disposed of. */
  readonly onClose: () => Promise<void>;
}

/** What a request wants of a page. */
interface Part {
  /** Of the page. */
  readonly number: number;
  /** Within the page. */
  readonly from: number;
  readonly to: number;
  /** Where that is in the request. */
  readonly at: number;
}

/** Keeps pages of the device below. All of a page is cached or nothing of it. */
export class CacheLayer extends PassThrough implements AsyncDisposable {
  readonly #options: CacheLayerOptions;
  readonly #table: PageTable;
  readonly #storage: PageStorage;
  readonly #page: number;
  readonly #lock = new RangeLock();
  readonly #size: number;
  #hits = 0;
  #misses = 0;

  constructor(next: ResolvedDevice, options: CacheLayerOptions) {
    super(next, {
      caps: {
        concurrency: 'parallel',
        prefetch: true,
        ...(options.writeBack && { flush: true, fua: 'emulate', writeCache: 'process' }),
      },
    });
    this.#options = options;
    this.#table = options.table;
    this.#storage = options.storage;
    this.#page = options.pageSize;
    this.#size = next.size;
  }

  /** As it was when the cache was made: the last page is of that size. */
  override get size(): number {
    return this.#size;
  }

  status(): DeviceStatus {
    const asked = this.#hits + this.#misses;
    return {
      pages: `${this.#table.size} of ${this.#table.capacity}`,
      dirty: this.#table.dirty.length,
      hits: asked === 0 ? 'none' : `${((100 * this.#hits) / asked).toFixed(1)} %`,
    };
  }

  override async read(offset: number, iov: IoVec, flags: IoFlags): Promise<void> {
    const length = iovLength(iov);
    using _held = await this.#locked(offset, length);
    // What is missing is fetched at once, not page after page.
    await settleAll(this.#parts(offset, length).map((part) => this.#readPart(part, iov, flags)));
  }

  override async write(offset: number, iov: IoVec, flags: IoFlags): Promise<void> {
    const length = iovLength(iov);
    const data = new Uint8Array(length);
    copyOut(iov, data);
    if (this.#options.writeBack) {
      // No more at a time than there may be place for.
      const most = this.#share;
      for (let at = 0; at < length; at += most)
        await this.#writeBack(offset + at, data.subarray(at, Math.min(length, at + most)));
      if ((flags & IoFlag.FUA) !== 0) await this.flush(0);
    } else await this.#writeThrough(offset, data, flags);
  }

  override async flush(flags: IoFlags): Promise<void> {
    await this.#clean(this.#table.dirty);
    await this.next.flush(flags);
  }

  override discard(offset: number, length: number, flags: IoFlags): Promise<void> {
    return this.#around(offset, length, () => this.next.discard(offset, length, flags));
  }

  override writeZeroes(offset: number, length: number, flags: IoFlags): Promise<void> {
    // With write-back, what a flush has to cover may be here.
    const fua = (flags & IoFlag.FUA) !== 0 && this.#options.writeBack;
    const below = fua ? flags & ~IoFlag.FUA : flags;
    return this.#around(offset, length, async () => {
      await this.next.writeZeroes(offset, length, below);
      if (fua) await this.next.flush(0);
    });
  }

  override async extents(offset: number, length: number): Promise<readonly Extent[]> {
    await this.#clean(this.#dirtyIn(offset, length));
    return await this.next.extents(offset, length);
  }

  /** What does not fit into a share of the cache would drive out what is in use. */
  override async prefetch(offset: number, length: number): Promise<void> {
    const parts = this.#parts(offset, Math.min(length, this.#share));
    const missing = parts.filter(({ number }) => !this.#table.has(number));
    await this.#eachRun(
      missing.map(({ number }) => number),
      (run) => this.#fetchRun(run),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using _storage = this.#storage;
    await this.flush(0);
    await this.#options.onClose();
  }

  /** `call` changes a range of the store: what is cached of it is written back first, and forgotten. */
  async #around(offset: number, length: number, call: () => unknown): Promise<void> {
    using _held = await this.#locked(offset, length);
    await this.#store(this.#dirtyIn(offset, length));
    try {
      await call();
    } finally {
      this.#forget(offset, length);
    }
  }

  async #readPart({ number, from, to, at }: Part, iov: IoVec, flags: IoFlags): Promise<void> {
    const page = this.#table.find(number);
    if (page === undefined) this.#misses++;
    else this.#hits++;
    const bytes = page === undefined ? await this.#fetch(number, flags) : await this.#load(number, page);
    copyIn(iov, bytes.subarray(from, to), at);
  }

  async #writeThrough(offset: number, data: Uint8Array, flags: IoFlags): Promise<void> {
    using _held = await this.#locked(offset, data.length);
    try {
      await this.next.write(offset, [data], flags);
    } catch (error) {
      // Nobody knows what is in the store now.
      this.#forget(offset, data.length);
      throw error;
    }
    for (const { number, from, to, at } of this.#parts(offset, data.length)) {
      const part = data.subarray(at, at + to - from);
      const page = this.#table.peek(number);
      if (page !== undefined) await this.#merge(number, page, part, from);
      else if (from === 0 && to === this.#page) await this.#insert(number, part.slice());
    }
  }

  async #writeBack(offset: number, data: Uint8Array): Promise<void> {
    const parts = this.#parts(offset, data.length);
    await this.#makeRoom(parts.length);
    using _held = await this.#locked(offset, data.length);
    for (const { number, from, to, at } of parts) {
      const part = data.subarray(at, at + to - from);
      const cached = this.#table.find(number);
      const isWhole = from === 0 && to >= this.#lengthOf(number);
      const bytes = isWhole
        ? new Uint8Array(this.#page)
        : (await (cached === undefined ? this.#fetch(number, 0) : this.#load(number, cached))).slice();
      bytes.set(part, from);
      const page = this.#table.peek(number) ?? this.#table.add(number);
      // Everything is in use: the store takes it.
      if (page === undefined) await this.next.write(number * this.#page + from, [part], 0);
      else await this.#put(number, page, bytes, true);
    }
  }

  /** Writes dirty pages back, until there is a place for so many new ones or nothing is dirty. */
  async #makeRoom(count: number): Promise<void> {
    while (this.#table.room < count) {
      const oldest = this.#table.dirty.slice(0, Math.max(count, MAX_RUN / this.#page));
      if (oldest.length === 0) return;
      await this.#clean(oldest);
    }
  }

  /** Locks and writes back. Must not be called with a lock held. */
  #clean(numbers: readonly number[]): Promise<void> {
    return this.#eachRun(numbers, (run) => this.#store(run));
  }

  /** Calls with each run of neighbours while it is locked. Must not be called with a lock held. */
  async #eachRun(numbers: readonly number[], call: (run: readonly number[]) => Promise<void>): Promise<void> {
    const runs = this.#runsOf(numbers);
    const work = async (): Promise<void> => {
      for (let run = runs.shift(); run !== undefined; run = runs.shift()) {
        using _held = await this.#locked(run[0]! * this.#page, run.length * this.#page);
        await call(run);
      }
    };
    await settleAll(Array.from({ length: PARALLEL_RUNS }, work));
  }

  /** Of pages that are locked, writes those that are dirty. They are neighbours, or few. */
  async #store(numbers: readonly number[]): Promise<void> {
    for (const run of this.#runsOf(numbers.filter((number) => this.#table.isDirty(number)))) {
      const iov: Uint8Array[] = [];
      for (const number of run)
        iov.push(
          (await this.#storage.read(this.#table.peek(number)!.slot)).subarray(0, this.#lengthOf(number)),
        );
      await this.next.write(run[0]! * this.#page, iov, 0);
      for (const number of run) this.#table.setDirty(number, false);
    }
  }

  /** A page as the cache has it. One that was damaged there is fetched again, unless nobody else has it. */
  async #load(number: number, page: CachedPage): Promise<Uint8Array> {
    page.pins++;
    try {
      return await this.#storage.read(page.slot);
    } catch (error) {
      if (this.#table.isDirty(number)) throw error;
    } finally {
      page.pins--;
    }
    this.#table.remove(number);
    return await this.#fetch(number, 0);
  }

  /** A page from below, which is cached from now on where there is a place. */
  async #fetch(number: number, flags: IoFlags): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.#page);
    await this.next.read(number * this.#page, [bytes.subarray(0, this.#lengthOf(number))], flags);
    await this.#insert(number, bytes);
    return bytes;
  }

  /** Of pages that are locked, caches those that are still missing. */
  async #fetchRun(numbers: readonly number[]): Promise<void> {
    for (const run of this.#runsOf(numbers.filter((number) => !this.#table.has(number)))) {
      const pages = run.map((number) => ({ number, bytes: new Uint8Array(this.#page) }));
      const iov = pages.map(({ number, bytes }) => bytes.subarray(0, this.#lengthOf(number)));
      await this.next.read(run[0]! * this.#page, iov, 0);
      for (const { number, bytes } of pages) await this.#insert(number, bytes);
    }
  }

  async #insert(number: number, bytes: Uint8Array): Promise<void> {
    const page = this.#table.add(number);
    if (page !== undefined) await this.#put(number, page, bytes, false);
  }

  async #merge(number: number, page: CachedPage, part: Uint8Array, from: number): Promise<void> {
    const bytes = (await this.#load(number, page)).slice();
    bytes.set(part, from);
    const still = this.#table.peek(number);
    if (still !== undefined) await this.#put(number, still, bytes, false);
  }

  async #put(number: number, page: CachedPage, bytes: Uint8Array, dirty: boolean): Promise<void> {
    page.pins++;
    try {
      await this.#storage.write(page.slot, bytes);
      this.#table.setDirty(number, dirty);
    } catch (error) {
      // What is clean may go; what was dirty is gone, and its writer is told.
      const wasDirty = this.#table.isDirty(number);
      this.#table.remove(number);
      if (dirty || wasDirty) throw error;
    } finally {
      page.pins--;
    }
  }

  #forget(offset: number, length: number): void {
    for (const { number } of this.#parts(offset, length)) this.#table.remove(number);
  }

  #dirtyIn(offset: number, length: number): number[] {
    const [first, last] = [Math.floor(offset / this.#page), Math.floor((offset + length - 1) / this.#page)];
    return this.#table.dirty.filter((number) => number >= first && number <= last);
  }

  /** What one request may take of the cache. Bytes. */
  get #share(): number {
    return Math.max(1, Math.floor(this.#table.capacity / 4)) * this.#page;
  }

  /** Of the last page, what the disk has of it. */
  #lengthOf(number: number): number {
    return Math.min(this.#page, this.#size - number * this.#page);
  }

  /** The pages of a range. */
  #parts(offset: number, length: number): Part[] {
    const parts: Part[] = [];
    for (let at = 0; at < length; ) {
      const number = Math.floor((offset + at) / this.#page);
      const from = offset + at - number * this.#page;
      const to = Math.min(this.#page, from + length - at);
      parts.push({ number, from, to, at });
      at += to - from;
    }
    return parts;
  }

  #runsOf(numbers: readonly number[]): number[][] {
    const runs: number[][] = [];
    for (const number of [...numbers].sort((a, b) => a - b)) {
      const run = runs.at(-1);
      if (run?.at(-1) === number - 1 && run.length * this.#page < MAX_RUN) run.push(number);
      else runs.push([number]);
    }
    return runs;
  }

  #locked(offset: number, length: number): Promise<Disposable> {
    const start = Math.floor(offset / this.#page) * this.#page;
    const end = Math.ceil((offset + length) / this.#page) * this.#page;
    return this.#lock.acquire(start, end - start);
  }
}
