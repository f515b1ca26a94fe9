// hot path: see ARCHITECTURE.md "Data plane"

import type { GuestMemory } from './guest-memory.ts';
import type { AccessBits, Mapping } from './mapping.ts';

/**
 * Builds a scatter/gather list from ranges of guest addresses. Ranges that continue each other become one segment,
 * a range that crosses regions becomes several. One object serves any number of lists, one after the other.
 */
export class Scatter {
  readonly #memory: GuestMemory;
  #iov: Uint8Array[] = [];
  #count = 0;
  #mapping: Mapping | undefined;
  #start = 0;
  #end = 0;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Starts a list, written over what `iov` held. */
  begin(iov: Uint8Array[]): void {
    this.#iov = iov;
    this.#count = 0;
    this.#mapping = undefined;
  }

  /** Appends `length` bytes at `iova`. False: some are absent, or not mapped for `access`; the list is useless then. */
  add(iova: number, length: number, access: AccessBits): boolean {
    let at = iova;
    const end = iova + length;
    while (at < end) {
      const mapping = this.#memory.lookup(at, access);
      if (mapping === undefined) return false;
      const until = Math.min(mapping.end, end);
      if (!mapping.present(at, until)) return false;
      if (mapping === this.#mapping && at === this.#end) {
        this.#end = until;
      } else {
        if (this.#mapping !== undefined)
          this.#iov[this.#count++] = this.#mapping.segment(this.#start, this.#end);
        this.#mapping = mapping;
        this.#start = at;
        this.#end = until;
      }
      at = until;
    }
    return true;
  }

  /** Completes the list: `iov` holds exactly its segments. */
  finish(): void {
    if (this.#mapping !== undefined) this.#iov[this.#count++] = this.#mapping.segment(this.#start, this.#end);
    this.#mapping = undefined;
    if (this.#iov.length !== this.#count) this.#iov.length = this.#count;
  }
}
