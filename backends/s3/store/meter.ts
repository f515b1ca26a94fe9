import { REQUEST_PRICE, type RequestClass } from './prices.ts';

const CLASSES = Object.keys(REQUEST_PRICE) as RequestClass[];

/** What is asked of a store, and what that costs. */
export class Meter {
  readonly #requests: Record<RequestClass, number> = { PUT: 0, GET: 0, DELETE: 0 };
  #sent = 0;
  #received = 0;
  #hedges = 0;
  #hedgesWon = 0;
  readonly #since = performance.now();

  /** `bytes` of a body: sent with PUT, received with GET. */
  count(kind: RequestClass, bytes: number): void {
    this.#requests[kind]++;
    if (kind === 'PUT') this.#sent += bytes;
    else this.#received += bytes;
  }

  /** A read was sent a second time. */
  hedged(bytes: number): void {
    this.#hedges++;
    this.count('GET', bytes);
  }

  /** The second request was the faster one. */
  hedgeWon(): void {
    this.#hedgesWon++;
  }

  /** For `blockgate status`. */
  status(): Record<string, string | number> {
    const dollars = CLASSES.reduce((sum, kind) => sum + this.#requests[kind] * REQUEST_PRICE[kind], 0);
    const hours = (performance.now() - this.#since) / 3_600_000;
    return {
      requests: CLASSES.map((kind) => `${this.#requests[kind]} ${kind}`).join(', '),
      'reads sent twice': `${this.#hedges}, the second was faster in ${this.#hedgesWon}`,
      sent: `${this.#sent} bytes`,
      received: `${this.#received} bytes`,
      'requests cost': `$${dollars.toFixed(6)}, $${(dollars / hours).toFixed(6)} per hour`,
    };
  }
}
