const MINUTE_MS = 60_000;
const MINUTES = 60;

/** How much there was of several things in the last hour, by the minute: in little memory, however much that is. */
export class LastHour {
  readonly #things: number;
  readonly #sums: Float64Array;
  readonly #start = performance.now();
  /** Since the start, the one that is being summed. */
  #minute = 0;

  /** @param things how many of them; they are numbered from 0 on. */
  constructor(things: number) {
    this.#things = things;
    this.#sums = new Float64Array(things * MINUTES);
  }

  add(thing: number, amount: number): void {
    this.#advance();
    this.#sums[(this.#minute % MINUTES) * this.#things + thing]! += amount;
  }

  /** Per hour: of the last one, or of the time since the start when that is shorter, but of a minute at least. */
  rate(thing: number): number {
    const ms = this.#advance();
    let sum = 0;
    for (let at = thing; at < this.#sums.length; at += this.#things) sum += this.#sums[at]!;
    const before = Math.min(this.#minute, MINUTES - 1) * MINUTE_MS;
    return (sum * MINUTES * MINUTE_MS) / Math.max(MINUTE_MS, before + (ms % MINUTE_MS));
  }

  /** Forgets what is older than an hour. Returns the milliseconds since the start. */
  #advance(): number {
    const ms = performance.now() - this.#start;
    const minute = Math.floor(ms / MINUTE_MS);
    for (let i = Math.max(this.#minute + 1, minute - MINUTES + 1); i <= minute; i++)
      this.#sums.fill(0, (i % MINUTES) * this.#things, ((i % MINUTES) + 1) * this.#things);
    this.#minute = minute;
    return ms;
  }
}
