/** One page of the disk that is cached. */
export interface CachedPage {
  readonly slot: number;
  /** Requests that are using it: it stays. */
  pins: number;
}

/** Which pages are cached, and where. What was used last is evicted last, and what is dirty never. */
export class PageTable {
  readonly capacity: number;
  /** By number; least recently used first. */
  readonly #pages = new Map<number, CachedPage>();
  readonly #dirty = new Set<number>();
  readonly #free: number[] = [];
  #unused = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get size(): number {
    return this.#pages.size;
  }

  /** Numbers of pages that the store has not got, in the order in which they became so. */
  get dirty(): number[] {
    return [...this.#dirty];
  }

  /** Does not count as a use. */
  has(number: number): boolean {
    return this.#pages.has(number);
  }

  isDirty(number: number): boolean {
    return this.#dirty.has(number);
  }

  setDirty(number: number, dirty: boolean): void {
    if (dirty) this.#dirty.add(number);
    else this.#dirty.delete(number);
  }

  get entries(): Iterable<[number, CachedPage]> {
    return this.#pages;
  }

  /** Counts as a use. */
  find(number: number): CachedPage | undefined {
    const page = this.#pages.get(number);
    if (page !== undefined) {
      this.#pages.delete(number);
      this.#pages.set(number, page);
    }
    return page;
  }

  peek(number: number): CachedPage | undefined {
    return this.#pages.get(number);
  }

  /** A place for a page that is not there; undefined when everything is dirty or in use. */
  add(number: number): CachedPage | undefined {
    const slot = this.#takeSlot();
    if (slot === undefined) return undefined;
    const page = { slot, pins: 0 };
    this.#pages.set(number, page);
    return page;
  }

  /** As it was left by an earlier process. */
  restore(number: number, slot: number): void {
    this.#pages.set(number, { slot, pins: 0 });
  }

  /** After all of `restore`. */
  restored(): void {
    const taken = new Set([...this.#pages.values()].map(({ slot }) => slot));
    for (let slot = this.capacity - 1; slot >= 0; slot--) if (!taken.has(slot)) this.#free.push(slot);
    this.#unused = this.capacity;
  }

  remove(number: number): void {
    const page = this.#pages.get(number);
    if (page === undefined) return;
    this.#pages.delete(number);
    this.#dirty.delete(number);
    this.#free.push(page.slot);
  }

  /** Places that are free, or taken by pages that the store has as well; those in use are among them. */
  get room(): number {
    return this.capacity - this.#dirty.size;
  }

  #takeSlot(): number | undefined {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#unused < this.capacity) return this.#unused++;
    for (const [number, { pins, slot }] of this.#pages) {
      if (pins > 0 || this.#dirty.has(number)) continue;
      this.#pages.delete(number);
      return slot;
    }
    return undefined;
  }
}
