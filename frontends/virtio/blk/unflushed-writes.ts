// hot path: see ARCHITECTURE.md "Data plane"

/**
 * Remembers, outside of the process, whether writes were answered that no flush has covered since. For volumes that keep
 * such writes in the process: when it is killed they are lost, while the driver goes on and takes them for written.
 */
export class UnflushedWrites {
  /** Not 0: there are some. */
  readonly #word: Int32Array;
  #answered = 0;

  /** `memory`: four aligned bytes that outlive the process, zero at first. */
  constructor(memory: Uint8Array) {
    this.#word = new Int32Array(memory.buffer, memory.byteOffset, 1);
  }

  get any(): boolean {
    return Atomics.load(this.#word, 0) !== 0;
  }

  /** What a flush covers that starts now; for `flushed`. */
  get mark(): number {
    return this.#answered;
  }

  /** To be called before the driver can see that a write is done. */
  answered(): void {
    this.#answered++;
    Atomics.store(this.#word, 0, 1);
  }

  /** A flush is done that started when `mark` was that. */
  flushed(mark: number): void {
    if (mark === this.#answered) Atomics.store(this.#word, 0, 0);
  }
}
