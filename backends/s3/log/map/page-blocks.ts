// hot path: see ARCHITECTURE.md "Data plane"

import type { ObjectTable } from '../log-object.ts';

/** Blocks of one page of a map: 64 MiB of the disk. */
export const PAGE_BLOCKS = 16384;

/** Where the blocks of one page come from, block by block: 128 KiB of memory. */
export class PageBlocks {
  /** 0: from nowhere, the block is zeros. */
  readonly ids = new Uint32Array(PAGE_BLOCKS);
  readonly blocks = new Uint32Array(PAGE_BLOCKS);
  #used = 0;

  /** Blocks that are not zeros. */
  get used(): number {
    return this.#used;
  }

  /**
   * Changes a run of blocks, as `TakeChange` says. With a table, what they came from before loses them, and `id`, which was
   * given all of them, those that did not come to it.
   */
  apply(
    at: number,
    count: number,
    id: number,
    block: number,
    fromId: number,
    fromBlock: number,
    table: ObjectTable | undefined,
  ): void {
    const { ids, blocks } = this;
    let missed = 0;
    for (let i = 0; i < count; i++) {
      const old = ids[at + i]!;
      if (fromId !== 0 && (old !== fromId || blocks[at + i] !== fromBlock + i)) {
        missed++;
        continue;
      }
      if (old === 0) this.#used++;
      else if (table !== undefined) table.get(old).live--;
      if (id === 0) this.#used--;
      ids[at + i] = id;
      blocks[at + i] = id === 0 ? 0 : block + i;
    }
    if (missed > 0 && table !== undefined) table.get(id).live -= missed;
  }

  /** Every run that is not zeros. */
  runs(take: (at: number, count: number, id: number, block: number) => void): void {
    for (let at = 0; at < PAGE_BLOCKS; ) {
      const id = this.ids[at]!;
      const count = this.runLength(at, PAGE_BLOCKS);
      if (id !== 0) take(at, count, id, this.blocks[at]!);
      at += count;
    }
  }

  /** How many blocks from `at` on, and before `end`, are consecutive in the same object, or are zeros. */
  runLength(at: number, end: number): number {
    const { ids, blocks } = this;
    const id = ids[at]!;
    const first = blocks[at]! - at;
    let next = at + 1;
    if (id === 0) while (next < end && ids[next] === 0) next++;
    else while (next < end && ids[next] === id && blocks[next]! - next === first) next++;
    return next - at;
  }
}
