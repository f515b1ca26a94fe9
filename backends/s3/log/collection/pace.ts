// hot path: see ARCHITECTURE.md "Data plane"

import type { Logger } from '../../../../core/plugin.ts';
import { checkpointStep } from './collection-policy.ts';
import type { LogSpace } from './log-space.ts';

/** Without any progress of the collection, writers wait for it no longer than this. Milliseconds. */
const PATIENCE_MS = 30_000;
/** The speed of the collection is that of the last seconds. Milliseconds. */
const MEMORY_MS = 4000;
/** A timer that is late costs nothing, up to so much. Milliseconds. */
const LATE_MS = 10;
/** No single write is slowed down by more; where that is not enough, it waits for room. Milliseconds. */
const MOST_MS = 500;

export interface PaceOptions {
  readonly space: LogSpace;
  /** What the log may occupy for each block in use. */
  readonly spaceTarget: number;
  /** Garbage that nobody minds on a small disk. Blocks. */
  readonly muchGarbage: number;
  /** What may be on its way to the log. Blocks. */
  readonly inFlight: number;
  /** Begins to make space, if it can. */
  readonly hurry: () => void;
  readonly logger: Logger;
}

/**
 * How fast the disk may be written while there is more garbage than there should be: as fast as the collection frees it when
 * the room above the target is half full, faster below, and not at all when it is full. Nobody waits for a collection that
 * does nothing: what is left when it is over cannot be freed now, and counts no more until it is looked at again.
 */
export class Pace {
  readonly #options: PaceOptions;
  /** Checkpoints, collections and deletions under way. */
  #working = 0;
  /** Garbage that could not be freed, beyond the target. */
  #forgiven = 0;
  /** When the last progress was made. */
  #progressAt = 0;
  /** Blocks that were freed, and the time it took. */
  #freed = 0;
  #took = 0;
  #measuredAt = 0;
  /** When the next write may begin. */
  #nextAt = 0;
  /** Those that were held back may ask again. */
  onChange: () => void = () => undefined;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** 0: so many blocks may be written now, and are. Otherwise: ask again after so many milliseconds, or on a change. */
  hold(blocks: number): number {
    let full = this.#full();
    if (full <= 0) return 0;
    if (this.#working === 0) {
      if (full < 1) return 0;
      const now = performance.now();
      this.#progressAt = now;
      this.#options.hurry();
      if (this.#isIdle()) {
        this.#forgive();
        return 0;
      }
      full = this.#full();
    }
    const now = performance.now();
    if (full >= 1) {
      const patience = this.#progressAt + PATIENCE_MS - now;
      if (patience > 0) return patience;
      this.#options.logger.warn('writes have waited for the collection of the log, which does not get on', {
        milliseconds: PATIENCE_MS,
      });
      this.#forgive();
      return 0;
    }
    if (this.#nextAt > now) return this.#nextAt - now;
    const speed = this.#took === 0 ? 0 : this.#freed / this.#took;
    if (speed > 0) {
      const cost = (blocks * full) / (1 - full) / speed;
      this.#nextAt = Math.max(this.#nextAt, now - LATE_MS) + Math.min(MOST_MS, cost);
    }
    return 0;
  }

  /** So much was copied that a checkpoint has to free it before more is. */
  get mustFree(): boolean {
    return this.#options.space.emptiedBlocks >= this.#checkpoint;
  }

  /** Somebody makes space until `work` settles. */
  async during<T>(work: Promise<T>): Promise<T> {
    if (this.#working++ === 0) {
      this.#progressAt = performance.now();
      this.#measuredAt = this.#progressAt;
    }
    try {
      return await work;
    } finally {
      this.#working--;
      if (this.#isIdle()) this.#forgive();
      this.progress();
    }
  }

  /** Less is in the way of those who were held back. */
  freed(blocks: number): void {
    const now = performance.now();
    this.#freed += blocks;
    this.#took += now - this.#measuredAt;
    this.#measuredAt = now;
    if (this.#took > MEMORY_MS) {
      const part = MEMORY_MS / this.#took;
      this.#freed *= part;
      this.#took *= part;
    }
    this.progress();
  }

  progress(): void {
    this.#progressAt = performance.now();
    this.onChange();
  }

  /** What is there has been looked at. */
  judged(): void {
    this.#forgiven = 0;
  }

  #isIdle(): boolean {
    return this.#working === 0;
  }

  /** Garbage that is in order. */
  get #target(): number {
    const { space, spaceTarget, muchGarbage } = this.#options;
    return space.used * (spaceTarget - 1) + muchGarbage;
  }

  /** Above that, for what becomes garbage while the collection works. */
  get #room(): number {
    const { muchGarbage, inFlight } = this.#options;
    return this.#step + muchGarbage + inFlight;
  }

  /** And for what was copied, until the next checkpoint frees it. */
  get #moved(): number {
    return this.#room + this.#checkpoint;
  }

  /** What is worth a checkpoint. */
  get #checkpoint(): number {
    return Math.max(this.#step, this.#options.muchGarbage);
  }

  get #step(): number {
    const { space, spaceTarget } = this.#options;
    return space.used * checkpointStep(spaceTarget);
  }

  /** How much of the room above the target is taken. */
  #full(): number {
    const { space } = this.#options;
    const target = this.#target + this.#forgiven;
    const uncollected = space.uncollected - target;
    const occupied = space.occupied - target;
    if (uncollected <= 0 && occupied <= 0) return 0;
    const room = this.#room;
    return occupied >= this.#moved ? 1 : uncollected / room;
  }

  #forgive(): void {
    const { space } = this.#options;
    const most = Math.max(space.uncollected - this.#target, space.occupied - this.#target - this.#moved);
    this.#forgiven = Math.max(0, most);
  }
}
