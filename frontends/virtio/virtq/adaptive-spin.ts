// hot path: see ARCHITECTURE.md "Data plane"

import type { Virtqueue } from './virtqueue.ts';

/** Looks at the ring between two looks at the clock, which costs more. */
const LOOKS = 16;
/** So many waits in a row have to be short before spinning starts. */
const SHORT_WAITS = 4;
/**
 * A wait that ends within this many times the limit counts as short: it contains the wake-up of this thread, which is
 * what spinning saves.
 */
const SHORTNESS = 4;

/**
 * Decides whether to look at an empty ring for a moment before sleeping. A wake-up costs both sides tens of
 * microseconds; a processor that spins is lost to everybody else. So it spins only while requests follow each other
 * closely, and stops with the first time that nothing came.
 */
export class AdaptiveSpin {
  readonly #limitMs: number;
  #emptySince = 0;
  #shortWaits = 0;

  /** `limitUs`: microseconds that one look may take. */
  constructor(limitUs: number) {
    this.#limitMs = limitUs / 1000;
  }

  /** A kick arrived. */
  woken(): void {
    if (this.#emptySince === 0) return;
    const waited = performance.now() - this.#emptySince;
    this.#emptySince = 0;
    this.#shortWaits = waited < this.#limitMs * SHORTNESS ? this.#shortWaits + 1 : 0;
  }

  /** The ring is empty. True: it is not any more. False: ask for a kick, and sleep. */
  untilAvailable(ring: Virtqueue): boolean {
    const start = performance.now();
    if (this.#shortWaits >= SHORT_WAITS) {
      const end = start + this.#limitMs;
      do {
        for (let i = 0; i < LOOKS; i++) if (ring.hasAvailable()) return true;
      } while (performance.now() < end);
      this.#shortWaits = 0;
    }
    this.#emptySince = start;
    return false;
  }
}
