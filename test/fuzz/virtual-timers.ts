interface Timer {
  readonly due: number;
  readonly call: () => void;
}

/**
 * setTimeout by a clock that is moved by hand, in place of the real one until disposal: what depends on the machine's
 * speed could not be repeated. Only what the data plane uses of it.
 */
export class VirtualTimers implements Disposable {
  readonly #real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  /** In the order in which they were set. */
  readonly #timers = new Map<number, Timer>();
  #now = 0;
  #nextId = 1;

  constructor() {
    const set = (call: () => void, ms: number): number => {
      this.#timers.set(this.#nextId, { due: this.#now + ms, call });
      return this.#nextId++;
    };
    const clear = (id: number | undefined): void => void (id !== undefined && this.#timers.delete(id));
    Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
  }

  /** Lets `ms` pass, and calls what is due. */
  advance(ms: number): void {
    this.#now += ms;
    for (const [id, { due, call }] of this.#timers) {
      if (due > this.#now) continue;
      this.#timers.delete(id);
      call();
    }
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, this.#real);
  }
}
