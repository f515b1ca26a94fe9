// hot path: see ARCHITECTURE.md "Data plane"

/** What is larger has memory of its own. Bytes. */
const SLAB_SIZE = 256 * 1024;

/** Memory of several writes. */
export class Slab {
  readonly bytes: Buffer;
  /** Writes that are in it. */
  count = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
  }
}

/** Memory for writes until they are durable, used again: what the collector frees costs more than the writes. */
export class WriteMemory {
  readonly #most: number;
  #free: Slab[] = [];
  #current = new Slab(SLAB_SIZE);
  #end = 0;
  /** Where in the slab that `take` returned. */
  start = 0;

  /** `keep`: bytes that are kept for later. */
  constructor(keep: number) {
    this.#most = Math.ceil(keep / SLAB_SIZE);
  }

  take(size: number): Slab {
    if (size > SLAB_SIZE) {
      this.start = 0;
      return new Slab(size);
    }
    if (this.#end + size > SLAB_SIZE) {
      const last = this.#current;
      this.#current = this.#free.pop() ?? new Slab(SLAB_SIZE);
      this.#end = 0;
      if (last.count === 0) this.#keep(last);
    }
    this.start = this.#end;
    this.#end += size;
    this.#current.count++;
    return this.#current;
  }

  /** Nobody looks at it any more, and nothing is being sent from it. What is never given back is the collector's. */
  giveBack(slab: Slab): void {
    slab.count--;
    if (slab.count === 0 && slab !== this.#current) this.#keep(slab);
  }

  #keep(slab: Slab): void {
    if (slab.bytes.length === SLAB_SIZE && this.#free.length < this.#most) this.#free.push(slab);
  }
}
