import type { Logger } from '../../../core/plugin.ts';
import { CacheFile, SLOT } from './cache-file.ts';

/** What waits to be written; what comes while that much waits is not kept. Bytes. */
const MAX_QUEUED = 8 * 2 ** 20;
/** A cache that takes longer is slower than the store. Milliseconds. */
const READ_MS = 1000;
/** After a failure the file is left alone for so long: it may have been this process that was slow. Milliseconds. */
const PAUSE_MS = 10_000;
/** Without a failure for so long it works again: of a full file system, some writes succeed. Milliseconds. */
const SOUND_MS = 600_000;
/** For what is still to be written when the disk is closed. Milliseconds. */
const CLOSE_MS = 2000;

interface Queued {
  readonly key: Buffer;
  readonly first: number;
  readonly frames: readonly Buffer[];
  readonly bytes: number;
}

type Frames = readonly (Buffer | undefined)[];

/**
 * A cache in a file that may fail, be slow, full or damaged: that costs what is in it, and nothing else. Writes happen behind
 * the caller's back.
 */
export class DiskCache implements AsyncDisposable {
  readonly #file: CacheFile;
  readonly #logger: Logger;
  readonly #queue: Queued[] = [];
  #queuedBytes = 0;
  #writing: Promise<void> | undefined;
  #pausedUntil = 0;
  #isFailing = false;
  #isClosed = false;
  #saidDamaged = false;
  #hits = 0;
  #misses = 0;
  #damaged = 0;
  #dropped = 0;

  constructor(file: CacheFile, logger: Logger) {
    this.#file = file;
    this.#logger = logger;
  }

  /** Undefined, and a warning, where there cannot be one. */
  static async open(folder: string, size: number, logger: Logger): Promise<DiskCache | undefined> {
    try {
      const file = await CacheFile.open(folder, size);
      if (file.size !== CacheFile.sizeWithin(size))
        logger.warn('the cache on disk is in use with another size, which stays', {
          folder,
          bytes: file.size,
        });
      return new DiskCache(file, logger);
    } catch (error) {
      logger.warn('the disk goes on without its cache on disk', { folder, reason: (error as Error).message });
      return undefined;
    }
  }

  /** Frames `first` … `first` + `count` - 1, those that it has. Never rejects. */
  async read(key: Buffer, first: number, count: number): Promise<Frames> {
    const found = this.#isPaused ? [] : await this.#read(key, first, count);
    const hits = found.reduce((sum, frame) => (frame === undefined ? sum : sum + 1), 0);
    this.#hits += hits;
    this.#misses += count - hits;
    return found;
  }

  /** Keeps frames when there is time. They must not change any more. */
  keep(key: Buffer, first: number, frames: readonly Buffer[]): void {
    if (this.#isPaused || frames.some(({ length }) => length === 0 || length > SLOT)) return;
    const bytes = frames.reduce((sum, { length }) => sum + length, 0);
    if (this.#queuedBytes + bytes > MAX_QUEUED) {
      this.#dropped += frames.length;
      return;
    }
    this.#queuedBytes += bytes;
    this.#queue.push({ key, first, frames, bytes });
    this.#writing ??= this.#drain();
  }

  /** Everything that was to be kept is written, or given up. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  /** For `blockgate status`. */
  status(): string {
    const state = this.#isFailing ? ', FAILING' : '';
    const { size } = this.#file;
    return `${this.#hits} hits, ${this.#misses} misses, ${this.#damaged} damaged, ${this.#dropped} not kept, ${size} bytes${state}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await within(CLOSE_MS, this.settled());
    this.#isClosed = true;
    // Not waited for where the file does not answer.
    await within(
      CLOSE_MS,
      this.settled().then(() => this.#file.close()),
    ).catch(() => undefined);
  }

  get #isPaused(): boolean {
    return this.#isClosed || performance.now() < this.#pausedUntil;
  }

  async #read(key: Buffer, first: number, count: number): Promise<Frames> {
    try {
      const found = await within(READ_MS, this.#file.read(key, first, count));
      if (found === undefined) throw new Error(`no answer within ${READ_MS / 1000} s`);
      this.#sayDamaged(found.damaged);
      return found.frames;
    } catch (error) {
      this.#failed(error as Error);
      return [];
    }
  }

  async #drain(): Promise<void> {
    for (;;) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      try {
        if (!this.#isPaused) {
          await this.#file.write(next.key, next.first, next.frames);
          this.#works();
        } else this.#dropped += next.frames.length;
      } catch (error) {
        this.#failed(error as Error);
      }
      this.#queuedBytes -= next.bytes;
    }
    this.#writing = undefined;
  }

  #works(): void {
    if (!this.#isFailing || performance.now() < this.#pausedUntil + SOUND_MS) return;
    this.#isFailing = false;
    this.#logger.warn('the cache on disk works again');
  }

  #failed({ message }: Error): void {
    if (this.#isClosed) return;
    this.#pausedUntil = performance.now() + PAUSE_MS;
    if (this.#isFailing) return;
    this.#isFailing = true;
    this.#logger.warn('the cache on disk fails; the disk goes on without it', { reason: message });
  }

  #sayDamaged(count: number): void {
    this.#damaged += count;
    if (count === 0 || this.#saidDamaged) return;
    this.#saidDamaged = true;
    this.#logger.warn('the cache on disk is damaged; what is, is fetched from the store again');
  }
}

/** Undefined when it takes longer. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, ms, undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
