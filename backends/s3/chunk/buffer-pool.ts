/** A bounded number of equal buffers, and a queue of those who wait for one. */
export class BufferPool {
  readonly size: number;
  readonly limit: number;
  readonly #free: Buffer[] = [];
  readonly #waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  #made = 0;

  /** @param size bytes of one buffer. @param limit the most that exist at once. */
  constructor(size: number, limit: number) {
    this.size = size;
    this.limit = limit;
  }

  /** Buffers that are taken. */
  get used(): number {
    return this.#made - this.#free.length;
  }

  /** A buffer with any content, or undefined when all are taken. */
  take(): Buffer | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#made === this.limit) return free;
    this.#made++;
    return Buffer.allocUnsafeSlow(this.size);
  }

  give(buffer: Buffer): void {
    this.#free.push(buffer);
    this.wakeOne();
  }

  /** Settles when a buffer may be had, or fails with what `failAll` is called with. First come, first served. */
  wait(): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Lets the one who waits longest try again. */
  wakeOne(): void {
    this.#waiting.shift()?.resolve();
  }

  failAll(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
