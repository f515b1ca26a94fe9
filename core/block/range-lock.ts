/** Keeps overlapping ranges apart: whoever asks first goes first, disjoint ranges do not wait for one another. */
export class RangeLock {
  /** Held and waiting, in the order of arrival. */
  readonly #ranges: { readonly start: number; readonly end: number; readonly released: Promise<void> }[] = [];

  /** Resolves once every earlier range that overlaps [start, start + length) was released. */
  async acquire(start: number, length: number): Promise<Disposable> {
    const end = start + length;
    const earlier = this.#ranges.filter((range) => range.start < end && start < range.end);
    const { promise: released, resolve } = Promise.withResolvers<void>();
    const mine = { start, end, released };
    this.#ranges.push(mine);
    await Promise.all(earlier.map((range) => range.released));
    return {
      [Symbol.dispose]: () => {
        const index = this.#ranges.indexOf(mine);
        if (index === -1) return;
        this.#ranges.splice(index, 1);
        resolve();
      },
    };
  }

  get held(): number {
    return this.#ranges.length;
  }
}
