import type { Logger } from '../../core/api/logger.ts';

const INTERVAL_MS = 1000;

/**
 * Tells the log of malformed requests: one line in a second at most. A guest can send a hundred thousand of them in
 * that time, and what a line costs, the log's disk and the gateway's memory, is not the guest's.
 */
export class MalformedLog {
  readonly #logger: Logger;
  readonly #queue: number;
  readonly #now: () => number;
  #quietUntil = Number.NEGATIVE_INFINITY;
  #untold = 0;

  /** `now`: milliseconds, by a clock that does not jump. */
  constructor(logger: Logger, queue: number, now: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#queue = queue;
    this.#now = now;
  }

  report(defect: string): void {
    const now = this.#now();
    if (now < this.#quietUntil) {
      this.#untold++;
      return;
    }
    this.#logger.warn('malformed request', { queue: this.#queue, defect, untold: this.#untold });
    this.#quietUntil = now + INTERVAL_MS;
    this.#untold = 0;
  }
}
