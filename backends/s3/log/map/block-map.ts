// hot path: see ARCHITECTURE.md "Data plane"

import type { ObjectTable } from '../log-object.ts';

/** Blocks of one page of a map: 64 MiB of the disk. */
export const PAGE_BLOCKS = 16384;

/** Consecutive blocks of the disk that are consecutive in one object. */
export interface Run {
  /** The object; 0: none, these blocks were never written or are zeros. */
  id: number;
  /** The first of them in the object. */
  block: number;
  count: number;
}

interface Page {
  readonly ids: Uint32Array;
  readonly blocks: Uint32Array;
  /** Entries that are not 0. */
  used: number;
}

/**
 * Where each block of the disk is in the log, as of the last object that is durable: what a recovery would find. Counts
 * for each object how many blocks come from it.
 */
export class BlockMap {
  readonly #objects: ObjectTable;
  readonly #pages = new Map<number, Page>();
  #used = 0;

  constructor(objects: ObjectTable) {
    this.#objects = objects;
  }

  /** The run that begins at block `lba`, at most `max` blocks long. */
  find(lba: number, max: number, run: Run): void {
    let page = this.#pages.get(Math.floor(lba / PAGE_BLOCKS));
    const at = lba % PAGE_BLOCKS;
    const id = page === undefined ? 0 : page.ids[at]!;
    run.id = id;
    run.block = id === 0 ? 0 : page!.blocks[at]!;
    let count = 1;
    while (count < max) {
      const next = lba + count;
      const slot = next % PAGE_BLOCKS;
      if (slot === 0) page = this.#pages.get(next / PAGE_BLOCKS);
      if (page === undefined) {
        if (id !== 0) break;
        count = Math.min(max, count + PAGE_BLOCKS - slot);
        continue;
      }
      if (page.ids[slot] !== id || (id !== 0 && page.blocks[slot] !== run.block + count)) break;
      count++;
    }
    run.count = count;
  }

  set(lba: number, count: number, id: number, block: number): void {
    const object = this.#objects.get(id);
    for (let i = 0; i < count; i++) {
      const page = this.#page(lba + i);
      const at = (lba + i) % PAGE_BLOCKS;
      const old = page.ids[at]!;
      if (old === 0) {
        page.used++;
        this.#used++;
      } else this.#objects.get(old).live--;
      page.ids[at] = id;
      page.blocks[at] = block + i;
    }
    object.live += count;
  }

  /** As `set`, for those blocks that are still where they were copied from. */
  move(lba: number, count: number, id: number, block: number, fromId: number, fromBlock: number): void {
    const [to, from] = [this.#objects.get(id), this.#objects.get(fromId)];
    for (let i = 0; i < count; i++) {
      const page = this.#pages.get(Math.floor((lba + i) / PAGE_BLOCKS));
      const at = (lba + i) % PAGE_BLOCKS;
      if (page === undefined || page.ids[at] !== fromId || page.blocks[at] !== fromBlock + i) continue;
      page.ids[at] = id;
      page.blocks[at] = block + i;
      from.live--;
      to.live++;
    }
  }

  clear(lba: number, count: number): void {
    const end = lba + count;
    const pagesTouched = Math.ceil(end / PAGE_BLOCKS) - Math.floor(lba / PAGE_BLOCKS);
    // Of a disk that is mostly empty, look at what is there.
    if (pagesTouched > this.#pages.size) {
      for (const number of [...this.#pages.keys()]) this.#clearPage(number, lba, end);
    } else
      for (let at = lba; at < end; at = (Math.floor(at / PAGE_BLOCKS) + 1) * PAGE_BLOCKS)
        this.#clearPage(Math.floor(at / PAGE_BLOCKS), lba, end);
  }

  /** Every run that is not a hole, in the order of the disk. */
  *runs(): Generator<Run & { readonly lba: number }> {
    const run: Run = { id: 0, block: 0, count: 0 };
    for (const number of [...this.#pages.keys()].sort((a, b) => a - b)) {
      const end = (number + 1) * PAGE_BLOCKS;
      for (let lba = number * PAGE_BLOCKS; lba < end; lba += run.count) {
        this.find(lba, end - lba, run);
        if (run.id !== 0) yield { lba, ...run };
      }
    }
  }

  /** Blocks that are not holes. */
  get used(): number {
    return this.#used;
  }

  #page(lba: number): Page {
    const number = Math.floor(lba / PAGE_BLOCKS);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = { ids: new Uint32Array(PAGE_BLOCKS), blocks: new Uint32Array(PAGE_BLOCKS), used: 0 };
      this.#pages.set(number, page);
    }
    return page;
  }

  #clearPage(number: number, lba: number, end: number): void {
    const page = this.#pages.get(number);
    if (page === undefined) return;
    const base = number * PAGE_BLOCKS;
    const stop = Math.min(PAGE_BLOCKS, end - base);
    for (let at = Math.max(0, lba - base); at < stop; at++) {
      const old = page.ids[at]!;
      if (old === 0) continue;
      page.ids[at] = 0;
      page.used--;
      this.#used--;
      this.#objects.get(old).live--;
    }
    if (page.used === 0) this.#pages.delete(number);
  }
}
