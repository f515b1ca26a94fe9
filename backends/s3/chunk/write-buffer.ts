import { BlockError, type IoVec, type MaybePromise, Semaphore, settleAll } from '../../../core/plugin.ts';
import { toBlockError } from '../errors.ts';
import { BufferPool } from './buffer-pool.ts';
import { BufferedChunk, emptyLayer, type Layer, zeroLayer } from './buffered-chunk.ts';
import type { ChunkStore } from './chunk-store.ts';
import type { Garbage } from './garbage.ts';
import { LINES_PER_CHUNK } from './layout.ts';
import type { PresenceMap } from './presence-map.ts';
import type { Lines, ReadCache } from './read-cache.ts';

const MIN_BUFFERS = 4;

/**
 * Write-back in memory, bounded: chunks that were written to, until the store has them and the room is needed.
 *
 * A chunk is uploaded when it was written wholly, when half of the room is taken, and at `commitAll`. What of it was
 * not written is read from the store only then. While it is uploaded, new writes go to a second buffer above it.
 * Writers wait when all buffers are taken by chunks that the store does not have yet.
 */
export class WriteBuffer {
  readonly #chunks: ChunkStore;
  readonly #map: PresenceMap;
  readonly #cache: ReadCache;
  readonly #garbage: Garbage;
  readonly #pool: BufferPool;
  readonly #uploadSlots: Semaphore;
  readonly #zeroes: Buffer;
  /** In order of use, the one unused for longest first. */
  readonly #table = new Map<number, BufferedChunk>();
  #dirtyCount = 0;

  constructor(options: {
    readonly chunks: ChunkStore;
    readonly map: PresenceMap;
    readonly cache: ReadCache;
    readonly garbage: Garbage;
    /** Memory to use; at least four chunks are. */
    readonly bytes: number;
    readonly maxUploads: number;
  }) {
    this.#chunks = options.chunks;
    this.#map = options.map;
    this.#cache = options.cache;
    this.#garbage = options.garbage;
    const { chunkSize } = options.chunks;
    this.#pool = new BufferPool(chunkSize, Math.max(MIN_BUFFERS, Math.floor(options.bytes / chunkSize)));
    this.#uploadSlots = new Semaphore(options.maxUploads);
    this.#zeroes = Buffer.alloc(chunkSize);
  }

  /** Chunks that the store does not have as they are. */
  get dirtyChunks(): number {
    return this.#dirtyCount;
  }

  find(index: number): BufferedChunk | undefined {
    return this.#table.get(index);
  }

  /** Takes [from, from + length) of `iov` for byte `at` of a chunk on. Waits for room if there is none. */
  write(index: number, at: number, length: number, iov: IoVec, from: number): MaybePromise<void> {
    const chunk = this.#open(index);
    if (chunk === undefined) return this.#applyLater(index, (opened) => opened.write(at, length, iov, from));
    this.#apply(chunk, (open) => open.write(at, length, iov, from));
  }

  /** Zeroes [start, end) of a chunk. A chunk that holds zeros already takes no room. */
  zero(index: number, start: number, end: number): MaybePromise<void> {
    if (end - start === this.#chunks.chunkSize) return this.zeroWhole(index);
    if (!this.#map.has(index) && !this.#table.has(index)) return;
    const chunk = this.#open(index);
    if (chunk === undefined) return this.#applyLater(index, (opened) => opened.zero(start, end));
    this.#apply(chunk, (open) => open.zero(start, end));
  }

  /** Makes a chunk one that does not exist. Never waits. */
  zeroWhole(index: number): void {
    const chunk = this.#table.get(index);
    if (chunk === undefined) {
      this.#remove(index);
      return;
    }
    this.#apply(chunk, () => {
      chunk.changes++;
      if (chunk.front?.data) this.#pool.give(chunk.front.data);
      chunk.front = zeroLayer();
    });
    // With an upload on its way the chunk will exist in a moment; it is removed when that settles.
    if (chunk.sealed === undefined) this.#settleZero(chunk);
  }

  /** As `zeroWhole` for the chunks [from, to), without a look at each of those that do not exist. */
  zeroRange(from: number, to: number): void {
    for (const index of [...this.#table.keys()]) if (index >= from && index < to) this.zeroWhole(index);
    for (let index = this.#map.next(from, to); index >= 0; index = this.#map.next(index + 1, to)) {
      if (!this.#table.has(index)) this.#remove(index);
    }
  }

  /** Settles when the store has every change made before this call. */
  async commitAll(): Promise<void> {
    await settleAll(
      [...this.#table.values()].filter(({ dirty }) => dirty).map((chunk) => this.#commit(chunk)),
    );
  }

  /** The chunk, ready for writes into its front layer; undefined when there is no room for one. */
  #open(index: number): BufferedChunk | undefined {
    let chunk = this.#table.get(index);
    if (chunk?.front?.data === undefined) {
      const data = this.#takeBuffer();
      if (data === undefined) return undefined;
      chunk ??= new BufferedChunk(index);
      const layer = emptyLayer(data);
      if (chunk.front) {
        data.fill(0);
        layer.complete = true;
      }
      chunk.front = layer;
    }
    this.#table.delete(index);
    this.#table.set(index, chunk);
    return chunk;
  }

  /** Applies a change when there is room for it. */
  async #applyLater(index: number, change: (chunk: BufferedChunk) => void): Promise<void> {
    for (;;) {
      if (!this.#roomInSight()) {
        throw new BlockError('EIO', 'no room to buffer a write: chunks in memory cannot be stored');
      }
      await this.#pool.wait();
      const chunk = this.#open(index);
      if (chunk === undefined) continue;
      try {
        // At once: a chunk that is open and not changed yet is one whose buffer anybody may take.
        this.#apply(chunk, change);
      } finally {
        // The next in line may want this very chunk, also when the change could not be made.
        this.#pool.wakeOne();
      }
      return;
    }
  }

  #roomInSight(): boolean {
    for (const chunk of this.#table.values())
      if (chunk.uploading || !chunk.dirty || !chunk.broken) return true;
    return false;
  }

  /** A free buffer, or that of the chunk unused for longest that the store has as it is. */
  #takeBuffer(): Buffer | undefined {
    const free = this.#pool.take();
    if (free !== undefined) return free;
    for (const chunk of this.#table.values()) {
      if (chunk.dirty || chunk.uploading || chunk.front?.data === undefined) continue;
      this.#table.delete(chunk.index);
      return chunk.front.data;
    }
    this.#uploadOldest(MIN_BUFFERS);
    return undefined;
  }

  #apply(chunk: BufferedChunk, change: (chunk: BufferedChunk) => void): void {
    const wasDirty = chunk.dirty;
    const wasComplete = chunk.front?.complete;
    change(chunk);
    chunk.broken = false;
    if (!wasDirty) this.#dirtyCount++;
    if (chunk.front?.data && chunk.front.complete && !wasComplete) this.#uploadInBackground(chunk);
    else if (this.#dirtyCount > this.#pool.limit / 2) this.#uploadOldest(1);
  }

  #uploadOldest(count: number): void {
    let left = count;
    for (const chunk of this.#table.values()) {
      if (left === 0) return;
      if (!chunk.dirty || chunk.broken || chunk.uploading) continue;
      this.#uploadInBackground(chunk);
      left--;
    }
  }

  #uploadInBackground(chunk: BufferedChunk): void {
    this.#upload(chunk).catch((error: unknown) => {
      // The data stays where it is, and the next flush reports. A chunk that cannot be completed is its own trouble;
      // a store that is given up is everybody's: nobody may wait for room any longer.
      if (chunk.broken) this.#pool.wakeOne();
      else this.#pool.failAll(error as Error);
    });
  }

  async #commit(chunk: BufferedChunk): Promise<void> {
    const target = chunk.changes;
    while (chunk.stored < target) await this.#upload(chunk);
  }

  /** Uploads what is newest when its turn comes. One at a time per chunk. */
  #upload(chunk: BufferedChunk): Promise<void> {
    chunk.upload ??= this.#run(chunk).finally(() => {
      chunk.upload = undefined;
      // Clean now, perhaps: a buffer to take.
      this.#pool.wakeOne();
    });
    return chunk.upload;
  }

  async #run(chunk: BufferedChunk): Promise<void> {
    using _slot = await this.#uploadSlots.acquire();
    try {
      for (;;) {
        const { front } = chunk;
        if (!chunk.dirty || front?.data === undefined) return;
        if (!front.complete) {
          await this.#complete(chunk, front);
          continue;
        }
        // No await from the check to the seal.
        if (this.#zeroes.equals(front.data)) return this.#settleZero(chunk);
        return await this.#send(chunk, front);
      }
    } catch (error) {
      throw toBlockError(error);
    }
  }

  /** Fills what was not written, unless the chunk changes so that it has to be looked at again. */
  async #complete(chunk: BufferedChunk, front: Layer): Promise<void> {
    const data = front.data!;
    if (!this.#map.has(chunk.index)) {
      front.valid.forEachGap(0, data.length, (start, end) => data.fill(0, start, end));
      front.complete = true;
      return;
    }
    const { lineSize } = this.#cache;
    let mask = 0;
    front.valid.forEachGap(0, data.length, (start, end) => {
      mask |= lineMask(start, end, lineSize);
    });
    const lines: Lines = [];
    try {
      const outcome = await this.#cache.fetch(chunk.index, mask, lines);
      if (chunk.front !== front || outcome === 'stale') return;
      if (outcome === 'missing') throw this.#chunks.failure(chunk.index, 'is missing from the bucket');
    } catch (error) {
      chunk.broken = BlockError.is(error);
      throw error;
    }
    // Gaps may have become smaller meanwhile, never larger.
    front.valid.forEachGap(0, data.length, (start, end) => copyLines(lines, lineSize, start, end, data));
    front.complete = true;
  }

  async #send(chunk: BufferedChunk, front: Layer): Promise<void> {
    const { index, changes } = chunk;
    chunk.sealed = front;
    chunk.front = undefined;
    try {
      const orphan = await this.#garbage.reclaim(index);
      await this.#chunks.put(index, front.data!, orphan || this.#map.has(index));
    } catch (error) {
      // Whether it arrived is unknown. If nobody knows the object it has to go.
      if (!this.#map.has(index)) this.#garbage.add(index);
      this.#unseal(chunk);
      throw error;
    }
    this.#map.add(index);
    this.#cache.invalidate(index);
    this.#stored(chunk, changes);
    this.#unseal(chunk);
  }

  #unseal(chunk: BufferedChunk): void {
    const buffer = chunk.unseal();
    if (buffer) this.#pool.give(buffer);
    if (chunk.front?.data === undefined) this.#settleZero(chunk);
  }

  /** The chunk is all zeros and nothing is on its way: it need not exist. */
  #settleZero(chunk: BufferedChunk): void {
    if (chunk.front?.data) this.#pool.give(chunk.front.data);
    chunk.front = undefined;
    this.#table.delete(chunk.index);
    this.#remove(chunk.index);
    this.#stored(chunk, chunk.changes);
  }

  #stored(chunk: BufferedChunk, changes: number): void {
    const wasDirty = chunk.dirty;
    chunk.stored = changes;
    if (wasDirty && !chunk.dirty) this.#dirtyCount--;
  }

  #remove(index: number): void {
    if (!this.#map.has(index)) return;
    this.#map.remove(index);
    this.#cache.invalidate(index);
    this.#garbage.add(index);
  }
}

/** Bits of the lines that [start, end) touches. */
export function lineMask(start: number, end: number, lineSize: number): number {
  const first = Math.floor(start / lineSize);
  const last = Math.floor((end - 1) / lineSize);
  return ((2 << last) - (1 << first)) & ((1 << LINES_PER_CHUNK) - 1);
}

/** Copies [start, end) of the chunk that `lines` are parts of to the same place in `target`. */
function copyLines(lines: Lines, lineSize: number, start: number, end: number, target: Uint8Array): void {
  for (let at = start; at < end; ) {
    const line = Math.floor(at / lineSize);
    const stop = Math.min(end, (line + 1) * lineSize);
    target.set(lines[line]!.subarray(at - line * lineSize, stop - line * lineSize), at);
    at = stop;
  }
}
