// hot path: see ARCHITECTURE.md "Data plane"

/**
 * True when every byte of [offset, offset + length) of a mapping can be touched. Asks the kernel, which answers where
 * touching would raise SIGBUS, and makes the pages present.
 */
export type Probe = (offset: number, length: number) => boolean;

/** Pages are at least this large on every machine; bytes. */
const PAGE = 4096;

/**
 * Which pages of a mapping are known to be there. The kernel allocates bounce pages one by one, when the driver first
 * uses them; touching another raises SIGBUS, which ends the process and which JavaScript cannot catch. A page that was
 * there once stays as long as the mapping: the first look at each costs a system call, every other one a bit test.
 *
 * A file that is truncated under its mapping takes back pages that were seen: that ends the process after all, and
 * only whoever made the file can do it.
 */
export class PresentPages {
  readonly #probe: Probe;
  readonly #length: number;
  readonly #seen: Uint32Array;

  /** `length`: bytes of the mapping, which starts on a page. */
  constructor(length: number, probe: Probe) {
    this.#length = length;
    this.#probe = probe;
    this.#seen = new Uint32Array(Math.ceil(length / PAGE / 32));
  }

  /** True when bytes [start, end) may be touched. They lie inside the mapping. */
  covers(start: number, end: number): boolean {
    const seen = this.#seen;
    // Truncates to 32 bits, which is enough for 8 TiB, and takes less time than rounding a double.
    const last = ((end - 1) / PAGE) | 0;
    for (let page = (start / PAGE) | 0; page <= last; page++) {
      if ((seen[page >>> 5]! & (1 << (page & 31))) === 0) return this.#ask(page, last);
    }
    return true;
  }

  /** One call for all pages that are left: large requests start with many that nobody has seen. */
  #ask(first: number, last: number): boolean {
    const from = first * PAGE;
    if (!this.#probe(from, Math.min((last + 1) * PAGE, this.#length) - from)) return false;
    for (let page = first; page <= last; page++) this.#seen[page >>> 5]! |= 1 << (page & 31);
    return true;
  }
}
