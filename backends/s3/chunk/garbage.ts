import { Bitmap } from '../../../core/plugin.ts';
import { MAX_DELETE_KEYS } from '../store/object-store.ts';
import type { ChunkStore } from './chunk-store.ts';
import type { PresenceMap } from './presence-map.ts';

/**
 * Objects of chunks that are gone from the presence map. Deleted in the background, never before the page of the map
 * that no longer lists them is stored.
 */
export class Garbage {
  readonly #chunks: ChunkStore;
  readonly #map: PresenceMap;
  readonly #bits: Bitmap;
  /** Chunks whose objects are being deleted now. */
  #batch: ReadonlySet<number> = new Set();
  #deleting: Promise<void> | undefined;
  #collecting: Promise<void> | undefined;
  #stopped = false;

  constructor(chunks: ChunkStore, map: PresenceMap, chunkCount: number) {
    this.#chunks = chunks;
    this.#map = map;
    this.#bits = new Bitmap(chunkCount);
  }

  /** Chunk numbers are below this. */
  get capacity(): number {
    return this.#bits.size;
  }

  /** The volume has grown to so many chunks. */
  grow(chunks: number): void {
    this.#bits.grow(chunks);
  }

  /** Objects that wait to be deleted. */
  get count(): number {
    return this.#bits.count;
  }

  add(chunk: number): void {
    this.#bits.set(chunk);
  }

  /**
   * Takes a chunk out that is about to be stored again, after a deletion under way has ended. Returns whether there
   * may be an object.
   */
  async reclaim(chunk: number): Promise<boolean> {
    while (this.#batch.has(chunk)) await this.#deleting;
    return this.#bits.clear(chunk);
  }

  /** Starts deleting what may be deleted, unless that is under way. */
  collect(): void {
    if (this.#bits.count === 0 || this.#stopped) return;
    this.#collecting ??= this.#run().finally(() => {
      this.#collecting = undefined;
    });
  }

  /** Settles when the batch under way is done and no other will follow. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#collecting;
  }

  /** Settles when nothing is being deleted. */
  async idle(): Promise<void> {
    await this.#collecting;
  }

  async #run(): Promise<void> {
    // What one pass could not delete waits for the next flush.
    for (let from = 0; !this.#stopped; ) {
      const batch: number[] = [];
      let chunk = this.#bits.next(from);
      for (; chunk >= 0 && batch.length < MAX_DELETE_KEYS; chunk = this.#bits.next(chunk + 1)) {
        if (!this.#map.has(chunk) && this.#map.isPersisted(chunk)) batch.push(chunk);
      }
      if (batch.length === 0) return;
      from = batch.at(-1)! + 1;
      this.#deleting = this.#delete(batch);
      await this.#deleting;
    }
  }

  async #delete(batch: readonly number[]): Promise<void> {
    this.#batch = new Set(batch);
    try {
      const remaining = new Set(await this.#chunks.deleteMany(batch));
      for (const chunk of batch) if (!remaining.has(chunk)) this.#bits.clear(chunk);
    } catch {
      // The store's state is in the log already; the batch stays garbage.
    } finally {
      this.#batch = new Set();
    }
  }
}
