import { crc32 } from 'node:zlib';
import { BlockError, type IoVec, type Logger } from '../../../core/plugin.ts';
import type { ObjectInfo, ObjectStore } from '../store/object-store.ts';
import { type Layout, LINES_PER_CHUNK } from './layout.ts';
import type { Expected, OwnedObjects } from './owned-objects.ts';

/** Metadata of a chunk: the CRC-32 of each line, 8 hexadecimal digits each; and the volume's UUID. */
const CRC_KEY = 'blockgate-crc32';
const VOLUME_KEY = 'blockgate-volume';
/** A damaged answer is asked for again: damage on the way is gone then, damage in the store stays. */
const READ_ATTEMPTS = 3;
/** ETags remembered, so that replacing a chunk needs no HEAD request first. About 100 bytes each. */
const MAX_ETAGS = 16 * 1024;

/** The chunk objects of one volume: whole ones in, verified lines out. */
export class ChunkStore {
  readonly chunkSize: number;
  readonly lineSize: number;
  readonly #store: ObjectStore;
  readonly #layout: Layout;
  readonly #volume: string;
  readonly #objects: OwnedObjects | undefined;
  readonly #logger: Logger;
  readonly #etags = new Map<number, string>();
  readonly #reported = new Set<number>();

  constructor(options: {
    readonly store: ObjectStore;
    readonly layout: Layout;
    /** UUID of the volume. */
    readonly volume: string;
    readonly chunkSize: number;
    /** Undefined: read-only. */
    readonly objects: OwnedObjects | undefined;
    readonly logger: Logger;
  }) {
    this.chunkSize = options.chunkSize;
    this.lineSize = options.chunkSize / LINES_PER_CHUNK;
    this.#store = options.store;
    this.#layout = options.layout;
    this.#volume = options.volume;
    this.#objects = options.objects;
    this.#logger = options.logger;
  }

  /**
   * Reads whole lines from `first` on, one buffer each, and verifies them. Undefined when there is no such object;
   * fails with EIO when it is damaged.
   */
  async readLines(chunk: number, first: number, lines: IoVec): Promise<true | undefined> {
    const key = this.#layout.chunk(chunk);
    for (let attempt = 1; ; attempt++) {
      const info = await this.#store.read(key, first * this.lineSize, lines);
      if (info === undefined) return undefined;
      const problem = this.#problemOf(info, first, lines);
      if (problem === undefined) {
        this.#remember(chunk, info.etag);
        return true;
      }
      if (attempt === READ_ATTEMPTS) throw this.failure(chunk, `is damaged: ${problem}`);
    }
  }

  /** Stores a whole chunk. `mayExist`: there may be an object to replace. */
  async put(chunk: number, data: Uint8Array, mayExist: boolean): Promise<void> {
    const etag = this.#etags.get(chunk);
    const expected: Expected = etag !== undefined ? { etag } : mayExist ? 'unknown' : 'absent';
    const metadata = { [CRC_KEY]: this.#checksums(data), [VOLUME_KEY]: this.#volume };
    this.#remember(chunk, await this.#objects!.put(this.#layout.chunk(chunk), data, expected, metadata));
  }

  /** Deletes the objects of these chunks; returns the chunks whose objects remain. */
  async deleteMany(chunks: readonly number[]): Promise<readonly number[]> {
    for (const chunk of chunks) this.#etags.delete(chunk);
    const failures = await this.#store.deleteMany(chunks.map((chunk) => this.#layout.chunk(chunk)));
    if (failures.length > 0) {
      this.#logger.warn('objects of discarded chunks could not be deleted', {
        count: failures.length,
        first: failures[0]!.key,
        reason: failures[0]!.reason,
      });
    }
    return failures
      .map(({ key }) => this.#layout.chunkOf(key))
      .filter((chunk): chunk is number => chunk !== undefined);
  }

  /** EIO for a chunk that cannot be read; logged once per chunk, with its key. */
  failure(chunk: number, what: string): BlockError {
    const key = this.#layout.chunk(chunk);
    if (!this.#reported.has(chunk)) {
      this.#reported.add(chunk);
      this.#logger.error(`a chunk ${what}; the guest sees EIO`, {
        key,
        offset: chunk * this.chunkSize,
        length: this.chunkSize,
      });
    }
    return new BlockError('EIO', `${key} ${what}`);
  }

  #problemOf(info: ObjectInfo, first: number, lines: IoVec): string | undefined {
    if (info.size !== this.chunkSize) return `it has ${info.size} bytes instead of ${this.chunkSize}`;
    if (info.metadata[VOLUME_KEY] !== this.#volume) return 'it is not a chunk of this volume';
    const sums = info.metadata[CRC_KEY] ?? '';
    if (sums.length !== 8 * LINES_PER_CHUNK) return 'it carries no checksums';
    for (const [i, line] of lines.entries()) {
      const at = (first + i) * 8;
      if (hex(crc32(line)) !== sums.slice(at, at + 8))
        return `the checksum of its line ${first + i} is wrong`;
    }
    return undefined;
  }

  #checksums(data: Uint8Array): string {
    let sums = '';
    for (let at = 0; at < data.length; at += this.lineSize)
      sums += hex(crc32(data.subarray(at, at + this.lineSize)));
    return sums;
  }

  #remember(chunk: number, etag: string): void {
    this.#etags.delete(chunk);
    this.#etags.set(chunk, etag);
    if (this.#etags.size > MAX_ETAGS) this.#etags.delete(this.#etags.keys().next().value!);
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
