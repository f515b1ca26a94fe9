// hot path: see ARCHITECTURE.md "Data plane"

/** Fewer bytes are a script, however near the server is. */
const MIN_BYTES = 16 * 1024;
/** So much longer a script keeps the server than a transaction, for each byte of it. Milliseconds. */
const SCRIPT_MS = 0.007 / 4096;
/** Within this, a server counts as near: it may have had something else to do. Milliseconds. */
const NEAR_MS = 0.1;
/** Of so many round trips the shortest counts: the others have waited for something. */
const RECENT = 32;
/** Where scripts are better, one in so many is a transaction all the same, which shows how far the server is by now. */
const TRY_EVERY = 32;

/**
 * Whether writes go in a transaction or by a script. A transaction takes one more round trip, and less of the server's
 * time: what is better depends on how many bytes they are, and on how far the server is.
 */
export class TransactionChoice {
  /** Milliseconds. */
  #shortest = 0;
  #shortestBefore = Number.POSITIVE_INFINITY;
  #shortestNow = Number.POSITIVE_INFINITY;
  #measured = 0;
  #passed = 0;

  isBetter(bytes: number): boolean {
    if (bytes < MIN_BYTES) return false;
    if (bytes * SCRIPT_MS >= this.#shortest - NEAR_MS) return true;
    this.#passed = (this.#passed + 1) % TRY_EVERY;
    return this.#passed === 0;
  }

  /** Of a transaction. Milliseconds. */
  tookRoundTrip(ms: number): void {
    if (this.#measured === RECENT) {
      this.#measured = 0;
      this.#shortestBefore = this.#shortestNow;
      this.#shortestNow = Number.POSITIVE_INFINITY;
    }
    this.#measured++;
    this.#shortestNow = Math.min(this.#shortestNow, ms);
    this.#shortest = Math.min(this.#shortestBefore, this.#shortestNow);
  }
}
