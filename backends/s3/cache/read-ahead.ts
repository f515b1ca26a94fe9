// hot path: see ARCHITECTURE.md "Data plane"

/** What is fetched ahead of a sequential read: as much as was read in sequence, but at least and at most so much. Bytes. */
const FIRST = 128 * 1024;
const MOST = 8 * 2 ** 20;
/** Less than this is not worth a request of its own. Bytes. */
const WORTHWHILE = 2 ** 20;

/** Notices that a disk is read sequentially. Bytes. */
export class ReadAhead {
  /** Where the next read begins if it is. */
  #next = -1;
  /** What was read in sequence until now. */
  #run = 0;
  /** Up to where was fetched ahead. */
  #done = 0;
  /** What to fetch now; empty where `from` is `to`. Valid until the next read. */
  readonly range = { from: 0, to: 0 };

  /** A read of `length` bytes at `offset` of a disk of `size` bytes: at most `most` are to be fetched ahead of it. */
  after(
    offset: number,
    length: number,
    size: number,
    most: number,
  ): { readonly from: number; readonly to: number } {
    const { range } = this;
    const isSequential = offset === this.#next;
    this.#next = offset + length;
    range.from = range.to = 0;
    if (!isSequential) {
      this.#run = length;
      this.#done = 0;
      return range;
    }
    this.#run += length;
    const window = Math.min(MOST, most, Math.max(FIRST, this.#run));
    const from = Math.max(this.#next, this.#done);
    const to = Math.min(size, this.#next + window);
    if (to - from < Math.min(window / 2, WORTHWHILE)) return range;
    this.#done = range.to = to;
    range.from = from;
    return range;
  }
}
