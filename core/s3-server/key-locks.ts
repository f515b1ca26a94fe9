/** One lock per key, first come, first served. A key nobody holds costs nothing. */
export class KeyLocks {
  /** Present: held. The list: who waits. */
  readonly #held = new Map<string, (() => void)[]>();

  /** Resolves with the lock held; give it back with `using`. */
  async acquire(key: string): Promise<Disposable> {
    const waiting = this.#held.get(key);
    if (waiting === undefined) this.#held.set(key, []);
    else await new Promise<void>((resolve) => waiting.push(resolve));
    return { [Symbol.dispose]: () => this.#release(key) };
  }

  isHeld(key: string): boolean {
    return this.#held.has(key);
  }

  /** How many keys are held. */
  get size(): number {
    return this.#held.size;
  }

  #release(key: string): void {
    const next = this.#held.get(key)?.shift();
    if (next) next();
    else this.#held.delete(key);
  }
}
