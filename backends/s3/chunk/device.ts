import {
  type BlockDevice,
  BlockError,
  copyIn,
  type DeviceInfo,
  type DeviceStatus,
  type Extent,
  fillZero,
  type IoVec,
  iovLength,
  type MaybePromise,
  settleAll,
} from '../../../core/plugin.ts';
import { toBlockError } from '../errors.ts';
import type { Meter } from '../store/meter.ts';
import type { ChunkStore } from './chunk-store.ts';
import type { PresenceMap } from './presence-map.ts';
import type { Lines, ReadCache } from './read-cache.ts';
import { lineMask, type WriteBuffer } from './write-buffer.ts';
import type { Writeback } from './writeback.ts';

/** A discard is bookkeeping without a pause; so many chunks keep the process busy for some 50 ms. */
const MAX_DISCARD_CHUNKS = 64 * 1024;

/** Chunks of one prefetch that are fetched at a time. */
const PREFETCHED_AT_ONCE = 4;

/** What a device is made of. `writer` is absent on a read-only disk. */
export interface DeviceParts {
  readonly size: number;
  readonly chunks: ChunkStore;
  readonly map: PresenceMap;
  readonly cache: ReadCache;
  readonly writer: { readonly buffer: WriteBuffer; readonly writeback: Writeback } | undefined;
  /** Grows the volume, or sees how large it is by now; the map covers it when this settles. Returns its size. */
  readonly grow: (size?: number) => Promise<number>;
  /** Requests to the store so far. */
  readonly meter: Meter;
  /** Releases everything the parts stand on. */
  readonly close: () => Promise<void>;
}

/** A run of bytes that has to come from the store. */
interface Gap {
  readonly start: number;
  readonly end: number;
}

/** A volume of chunks as a device. Byte ranges become ranges of chunks here; the parts do the rest. */
export class ChunkDevice implements BlockDevice {
  info: DeviceInfo;
  #size: number;
  readonly #chunkSize: number;
  readonly #chunks: ChunkStore;
  readonly #map: PresenceMap;
  readonly #cache: ReadCache;
  readonly #writer: DeviceParts['writer'];
  readonly #grow: DeviceParts['grow'];
  readonly #meter: Meter;
  readonly #close: () => Promise<void>;
  /** Where the next read would go on if the guest reads sequentially. */
  #sequentialAt = -1;
  /** The chunk up to which read-ahead has gone. */
  #readAheadTo = 0;

  constructor(parts: DeviceParts) {
    this.#size = parts.size;
    this.#chunks = parts.chunks;
    this.#chunkSize = parts.chunks.chunkSize;
    this.#map = parts.map;
    this.#cache = parts.cache;
    this.#writer = parts.writer;
    this.#grow = parts.grow;
    this.#meter = parts.meter;
    this.#close = parts.close;
    this.info = {
      size: parts.size,
      caps: { concurrency: 'parallel', readOnly: parts.writer === undefined, writeCache: 'process' },
      limits: {
        blockSize: 512,
        physicalBlockSize: 4096,
        optimalIoSize: this.#chunkSize,
        discardGranularity: this.#chunkSize,
        maxDiscard: MAX_DISCARD_CHUNKS * this.#chunkSize,
      },
    };
  }

  read(offset: number, iov: IoVec): MaybePromise<void> {
    this.#writer?.writeback.throwIfFailed();
    const length = iovLength(iov);
    const sequential = offset === this.#sequentialAt;
    this.#sequentialAt = offset + length;
    let pending: Promise<void>[] | undefined;
    for (let done = 0; done < length; ) {
      const chunk = Math.floor((offset + done) / this.#chunkSize);
      const at = (offset + done) % this.#chunkSize;
      const count = Math.min(length - done, this.#chunkSize - at);
      const part = this.#readPart(chunk, at, count, iov, done, sequential);
      if (part !== undefined) {
        pending ??= [];
        pending.push(part);
      }
      done += count;
    }
    if (sequential) this.#readAhead(Math.ceil((offset + length) / this.#chunkSize));
    return pending && settleAll(pending);
  }

  write(offset: number, iov: IoVec): MaybePromise<void> {
    const { buffer, writeback } = this.#writable();
    const length = iovLength(iov);
    let pending: Promise<void>[] | undefined;
    for (let done = 0; done < length; ) {
      const chunk = Math.floor((offset + done) / this.#chunkSize);
      const at = (offset + done) % this.#chunkSize;
      const count = Math.min(length - done, this.#chunkSize - at);
      const part = buffer.write(chunk, at, count, iov, done);
      if (part !== undefined) {
        pending ??= [];
        pending.push(part);
      }
      done += count;
    }
    writeback.touched();
    return pending && settleAll(pending);
  }

  flush(): MaybePromise<void> {
    return this.#writable().writeback.flush();
  }

  /** Frees whole chunks; a part of a chunk is left as it is, since freeing it would cost more than it frees. */
  discard(offset: number, length: number): void {
    const { buffer, writeback } = this.#writable();
    const first = Math.ceil(offset / this.#chunkSize);
    buffer.zeroRange(first, Math.max(first, this.#wholeChunksEnd(offset + length)));
    writeback.touched();
  }

  writeZeroes(offset: number, length: number): MaybePromise<void> {
    const { buffer, writeback } = this.#writable();
    const end = offset + length;
    const firstWhole = Math.ceil(offset / this.#chunkSize);
    const endWhole = this.#wholeChunksEnd(end);
    const pending: Promise<void>[] = [];
    const zero = (from: number, to: number) => {
      if (from >= to) return;
      const chunk = Math.floor(from / this.#chunkSize);
      const base = chunk * this.#chunkSize;
      const part = buffer.zero(chunk, from - base, to - base);
      if (part !== undefined) pending.push(part);
    };
    if (firstWhole >= endWhole) {
      const border = Math.min(end, firstWhole * this.#chunkSize);
      zero(offset, border);
      zero(Math.max(offset, border), end);
    } else {
      zero(offset, firstWhole * this.#chunkSize);
      buffer.zeroRange(firstWhole, endWhole);
      zero(Math.min(end, endWhole * this.#chunkSize), end);
    }
    writeback.touched();
    return pending.length === 0 ? undefined : settleAll(pending);
  }

  extents(offset: number, length: number): readonly Extent[] {
    const extents: Extent[] = [];
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const chunk = Math.floor(at / this.#chunkSize);
      const next = Math.min(end, (chunk + 1) * this.#chunkSize);
      const exists = this.#map.has(chunk) || this.#writer?.buffer.find(chunk) !== undefined;
      const kind = exists ? 'data' : 'hole';
      const last = extents.at(-1);
      if (last?.kind === kind) extents[extents.length - 1] = { ...last, length: last.length + next - at };
      else extents.push({ offset: at, length: next - at, kind });
      at = next;
    }
    return extents;
  }

  /** Chunks that are in the store and nowhere else, as far as that does not drive out what is in use. */
  async prefetch(offset: number, length: number): Promise<void> {
    this.#writer?.writeback.throwIfFailed();
    const { lineSize, spareLines } = this.#cache;
    const end = Math.min(offset + length, (Math.floor(offset / lineSize) + spareLines) * lineSize);
    let next = offset;
    const work = async (): Promise<void> => {
      while (next < end) {
        const at = next;
        const base = at - (at % this.#chunkSize);
        next = Math.min(end, base + this.#chunkSize);
        await this.#fetchAhead(base / this.#chunkSize, lineMask(at - base, next - base, lineSize));
      }
    };
    await settleAll(Array.from({ length: PREFETCHED_AT_ONCE }, work));
  }

  async resize(size?: number): Promise<void> {
    this.#size = await this.#grow(size);
    this.info = { ...this.info, size: this.#size };
  }

  status(): DeviceStatus {
    return this.#meter.status();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  #writable(): NonNullable<DeviceParts['writer']> {
    const writer = this.#writer;
    if (writer === undefined) throw new BlockError('EROFS', 'the volume is open read-only');
    writer.writeback.throwIfFailed();
    return writer;
  }

  /** The first chunk that is not wholly in front of `end`. The last chunk of the disk may be shorter than it is stored. */
  #wholeChunksEnd(end: number): number {
    return end === this.#size ? Math.ceil(end / this.#chunkSize) : Math.floor(end / this.#chunkSize);
  }

  #readPart(
    chunk: number,
    at: number,
    count: number,
    iov: IoVec,
    to: number,
    whole: boolean,
  ): Promise<void> | undefined {
    const buffered = this.#writer?.buffer.find(chunk);
    // What lies in memory is copied now: by the time the rest has come it may be gone.
    let gaps: Gap[] | undefined;
    const gap = (start: number, end: number) => {
      gaps ??= [];
      gaps.push({ start, end });
    };
    if (buffered) buffered.read(at, count, iov, to, gap);
    else gap(at, at + count);
    if (gaps === undefined) return undefined;
    if (!this.#map.has(chunk)) {
      for (const { start, end } of gaps) fillZero(iov, to + start - at, end - start);
      return undefined;
    }
    const { lineSize } = this.#cache;
    const lines: Lines = [];
    let missing = 0;
    let mask = 0;
    for (const { start, end } of gaps) mask |= lineMask(start, end, lineSize);
    for (let line = 0; mask >>> line !== 0; line++) {
      if ((mask & (1 << line)) === 0) continue;
      lines[line] = this.#cache.peek(chunk, line);
      if (lines[line] === undefined) missing |= 1 << line;
    }
    if (missing !== 0) {
      return this.#readMissing(chunk, at, count, iov, to, gaps, whole ? mask | restOf(mask) : mask);
    }
    copyGaps(lines, lineSize, gaps, iov, to - at);
    return undefined;
  }

  async #readMissing(
    chunk: number,
    at: number,
    count: number,
    iov: IoVec,
    to: number,
    gaps: readonly Gap[],
    mask: number,
  ): Promise<void> {
    const lines: Lines = [];
    let outcome: Awaited<ReturnType<ReadCache['fetch']>>;
    try {
      outcome = await this.#cache.fetch(chunk, mask, lines);
    } catch (error) {
      throw toBlockError(error);
    }
    if (outcome === 'stale') return this.#readPart(chunk, at, count, iov, to, false);
    if (outcome === 'missing') throw this.#chunks.failure(chunk, 'is missing from the bucket');
    copyGaps(lines, this.#cache.lineSize, gaps, iov, to - at);
  }

  /** Has the chunks behind a sequential read on their way before they are asked for. */
  #readAhead(next: number): void {
    const end = Math.min(next + this.#cache.readAheadChunks, Math.ceil(this.#size / this.#chunkSize));
    if (end === this.#readAheadTo) return;
    this.#readAheadTo = end;
    for (let chunk = next; chunk < end; chunk++) {
      if (this.#isOnlyStored(chunk)) this.#cache.prefetch(chunk);
    }
  }

  async #fetchAhead(chunk: number, mask: number): Promise<void> {
    if (!this.#isOnlyStored(chunk)) return;
    let outcome: Awaited<ReturnType<ReadCache['fetch']>>;
    try {
      outcome = await this.#cache.fetch(chunk, mask, []);
    } catch (error) {
      throw toBlockError(error);
    }
    if (outcome === 'missing') throw this.#chunks.failure(chunk, 'is missing from the bucket');
  }

  #isOnlyStored(chunk: number): boolean {
    return this.#map.has(chunk) && this.#writer?.buffer.find(chunk) === undefined;
  }
}

/** The lines behind the first of `mask`. */
function restOf(mask: number): number {
  return 0xffff & ~((mask & -mask) - 1);
}

function copyGaps(lines: Lines, lineSize: number, gaps: readonly Gap[], iov: IoVec, shift: number): void {
  for (const { start, end } of gaps) {
    for (let at = start; at < end; ) {
      const line = Math.floor(at / lineSize);
      const stop = Math.min(end, (line + 1) * lineSize);
      copyIn(iov, lines[line]!.subarray(at - line * lineSize, stop - line * lineSize), at + shift);
      at = stop;
    }
  }
}
