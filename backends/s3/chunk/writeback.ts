import type { BlockError, Logger, MaybePromise } from '../../../core/plugin.ts';
import type { Garbage } from './garbage.ts';
import type { OwnedObjects } from './owned-objects.ts';
import type { Ownership } from './owner.ts';
import type { PresenceMap } from './presence-map.ts';
import type { WriteBuffer } from './write-buffer.ts';

/** How often we look whether the volume is still ours, and the longest that a flush relies on the last look. */
const VERIFY_EVERY_MS = 10_000;
/** Data that nobody flushes is stored after this long. */
const IDLE_FLUSH_MS = 5000;

/**
 * Flushes. The order is what makes the volume safe against a crash at any moment: first the chunks, then the pages of
 * the presence map that say they exist, then, without being waited for, deletion of objects that no page lists.
 *
 * Flushes that arrive during a flush share the next one.
 */
export class Writeback implements Disposable {
  readonly #buffer: WriteBuffer;
  readonly #map: PresenceMap;
  readonly #garbage: Garbage;
  readonly #objects: OwnedObjects;
  readonly #ownership: Ownership;
  readonly #logger: Logger;
  readonly #onLost: (reason: BlockError) => void;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #failure: BlockError | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  readonly #verifyTimer: NodeJS.Timeout;

  constructor(options: {
    readonly buffer: WriteBuffer;
    readonly map: PresenceMap;
    readonly garbage: Garbage;
    readonly objects: OwnedObjects;
    readonly ownership: Ownership;
    readonly logger: Logger;
    /** Called once, when the volume turned out to be somebody else's. */
    readonly onLost: (reason: BlockError) => void;
  }) {
    this.#buffer = options.buffer;
    this.#map = options.map;
    this.#garbage = options.garbage;
    this.#objects = options.objects;
    this.#ownership = options.ownership;
    this.#logger = options.logger;
    this.#onLost = options.onLost;
    this.#verifyTimer = setInterval(() => void this.#verify().catch(() => {}), VERIFY_EVERY_MS);
    this.#verifyTimer.unref();
  }

  /** Something changed that must not stay in memory for ever. */
  touched(): void {
    this.#idleTimer ??= setTimeout(() => {
      this.#idleTimer = undefined;
      // Nobody waits for this one; a flush that somebody waits for reports the same failure.
      Promise.resolve(this.flush()).catch(() => {});
    }, IDLE_FLUSH_MS).unref();
  }

  throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Settles when everything that was written, zeroed or discarded before this call is in the store for good. */
  flush(): MaybePromise<void> {
    // The next flush has not begun while it is in `#next`, so it covers this call too.
    if (this.#next !== undefined) return this.#next;
    if (this.#running !== undefined) {
      this.#next = this.#after(this.#running);
      return this.#next;
    }
    if (this.#buffer.dirtyChunks === 0 && !this.#map.dirty) {
      this.#garbage.collect();
      return undefined;
    }
    return this.#start();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#idleTimer);
    clearInterval(this.#verifyTimer);
  }

  async #after(running: Promise<void>): Promise<void> {
    await running.catch(() => {});
    this.#next = undefined;
    await this.#start();
  }

  #start(): Promise<void> {
    this.#running = this.#flushOnce().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #flushOnce(): Promise<void> {
    if (this.#ownership.unverifiedMs > VERIFY_EVERY_MS) await this.#verify();
    try {
      await this.#buffer.commitAll();
      await this.#map.persist(this.#objects);
    } catch (error) {
      this.#failIfLost();
      throw error;
    }
    this.#garbage.collect();
  }

  async #verify(): Promise<void> {
    try {
      await this.#ownership.verify();
    } finally {
      this.#failIfLost();
    }
  }

  #failIfLost(): void {
    const { lost } = this.#ownership;
    if (lost === undefined || this.#failure) return;
    this.#failure = lost;
    this.#logger.error('the volume is no longer ours; every request fails from now on, nothing is written', {
      reason: lost.message,
      lostChunks: this.#buffer.dirtyChunks,
    });
    this.#onLost(lost);
  }
}
