import type { Logger } from '../../../core/plugin.ts';
import type { StoreError } from './store-error.ts';

/** Failed attempts in a row, over all requests, before the store counts as away. One lost connection is no news. */
const FAILURES_UNTIL_AWAY = 3;

/** Whether the store answers: says so in the log once per change, not once per request. */
export class StoreHealth {
  readonly #logger: Logger;
  readonly #now: () => number;
  #failures = 0;
  #awaySince: number | undefined;

  constructor(logger: Logger, now: () => number = Date.now) {
    this.#logger = logger;
    this.#now = now;
  }

  get away(): boolean {
    return this.#awaySince !== undefined;
  }

  succeeded(): void {
    this.#failures = 0;
    if (this.#awaySince === undefined) return;
    const seconds = Math.round((this.#now() - this.#awaySince) / 1000);
    this.#awaySince = undefined;
    // As loud as the news that it was away: who saw that one has to see this one.
    this.#logger.warn('the store answers again', { awaySeconds: seconds });
  }

  failed(error: StoreError): void {
    this.#failures++;
    if (this.#awaySince !== undefined) return;
    if (error.repairable) {
      this.#awaySince = this.#now();
      this.#logger.error('the store refuses our requests; the disk waits until it accepts them again', {
        reason: error.message,
      });
    } else if (this.#failures >= FAILURES_UNTIL_AWAY) {
      this.#awaySince = this.#now();
      this.#logger.warn('the store does not answer; the disk waits for it', { reason: error.message });
    }
  }
}
