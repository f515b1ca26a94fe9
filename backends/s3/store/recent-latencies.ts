/** Each bucket is a fifth wider than the one before; the last begins at about 100 s. */
const GROWTH = Math.log(1.2);
const BUCKETS = 64;
/** Milliseconds. */
const SHORTEST = 1;
/** After so many, those from before count half. */
const RECENT = 1000;

/** How long requests took of late: a histogram that forgets. */
export class RecentLatencies {
  readonly #buckets = new Float64Array(BUCKETS);
  #sum = 0;

  /** How many it knows of; those from long ago count less. */
  get count(): number {
    return this.#sum;
  }

  /** Milliseconds. */
  add(ms: number): void {
    const bucket = Math.ceil(Math.log(Math.max(SHORTEST, ms) / SHORTEST) / GROWTH);
    this.#buckets[Math.min(BUCKETS - 1, bucket)]!++;
    this.#sum++;
    if (this.#sum < RECENT) return;
    for (let i = 0; i < BUCKETS; i++) this.#buckets[i]! /= 2;
    this.#sum /= 2;
  }

  /** Milliseconds that `share` (0 … 1) of them did not exceed, up to a fifth too many. */
  quantile(share: number): number {
    let left = share * this.#sum;
    let bucket = 0;
    for (; bucket < BUCKETS - 1; bucket++) {
      left -= this.#buckets[bucket]!;
      if (left <= 0) break;
    }
    return SHORTEST * Math.exp(bucket * GROWTH);
  }
}
