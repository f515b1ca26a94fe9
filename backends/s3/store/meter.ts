import { formatSize } from '../../../core/plugin.ts';
import { LastHour } from './last-hour.ts';
import { type Prices, pricePerGib, REQUEST_CLASSES, type RequestClass, requestPrice } from './prices.ts';

interface Count {
  requests: number;
  /** Of bodies: sent with PUT, received with GET. */
  bytes: number;
}

/** What is asked of a store, and what that costs: since the start, and at the rate of the last hour. */
export class Meter {
  readonly #prices: Prices;
  readonly #total = REQUEST_CLASSES.map((): Count => ({ requests: 0, bytes: 0 }));
  /** By class: requests, and then bytes. */
  readonly #lastHour = new LastHour(2 * REQUEST_CLASSES.length);
  #hedges = 0;
  #hedgesWon = 0;

  constructor(prices: Prices) {
    this.#prices = prices;
  }

  /** A request is made, with a body of so many bytes. */
  count(kind: RequestClass, bytes = 0): void {
    const at = REQUEST_CLASSES.indexOf(kind);
    this.#total[at]!.requests++;
    this.#lastHour.add(2 * at, 1);
    if (bytes > 0) this.#move(at, bytes);
  }

  /** The answer to a GET had a body. */
  received(bytes: number): void {
    this.#move(REQUEST_CLASSES.indexOf('GET'), bytes);
  }

  /** A read of so many bytes was sent a second time. */
  hedged(bytes: number): void {
    this.#hedges++;
    this.count('GET', bytes);
  }

  /** The second request was the faster one. */
  hedgeWon(): void {
    this.#hedgesWon++;
  }

  /** For `blockgate status`. */
  status(): Record<string, string> {
    const rates = REQUEST_CLASSES.map((_, at): Count => {
      const [requests, bytes] = [this.#lastHour.rate(2 * at), this.#lastHour.rate(2 * at + 1)];
      return { requests: Math.round(requests), bytes: Math.round(bytes) };
    });
    const used = REQUEST_CLASSES.flatMap((kind, at) =>
      this.#total[at]!.requests === 0
        ? []
        : [[kind, `${this.#words(kind, this.#total[at]!)}; per hour ${this.#words(kind, rates[at]!)}`]],
    );
    return {
      ...Object.fromEntries(used),
      'reads sent twice': `${this.#hedges}, the second was faster in ${this.#hedgesWon}`,
      cost: `${dollars(this.#sum(this.#total))}; per hour ${dollars(this.#sum(rates))}`,
    };
  }

  #move(at: number, bytes: number): void {
    this.#total[at]!.bytes += bytes;
    this.#lastHour.add(2 * at + 1, bytes);
  }

  /** `12 (1.5 MiB) $0.000060` */
  #words(kind: RequestClass, count: Count): string {
    const moves = kind === 'PUT' || kind === 'GET' ? ` (${formatSize(count.bytes)})` : '';
    return `${count.requests}${moves} ${dollars(this.#price(kind, count))}`;
  }

  #price(kind: RequestClass, { requests, bytes }: Count): number {
    const { transferIn, transferOut } = this.#prices;
    return (
      requests * requestPrice(kind, this.#prices) +
      pricePerGib(bytes, kind === 'PUT' ? transferIn : transferOut)
    );
  }

  #sum(counts: readonly Count[]): number {
    return counts.reduce((sum, count, at) => sum + this.#price(REQUEST_CLASSES[at]!, count), 0);
  }
}

const dollars = (amount: number): string => `$${amount.toFixed(6)}`;
