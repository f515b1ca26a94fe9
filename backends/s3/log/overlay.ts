// hot path: see ARCHITECTURE.md "Data plane"

import type { Run } from './map/block-map.ts';
import { PAGE_BLOCKS } from './map/page-blocks.ts';

/** In place of a block of an object: these blocks are zeros since that object. */
export const ZEROS = 0xffffffff;

/** Blocks of one page of entries: small, since random writes touch a page each. */
const ENTRY_BLOCKS = 256;

interface Page {
  /** Objects by block of the disk; 0: this page says nothing of it. */
  readonly ids: Uint32Array;
  readonly blocks: Uint32Array;
  /** Entries that are not 0. */
  used: number;
}

/** Where the blocks are that were changed by objects which are not durable yet. It comes before the `BlockMap`. */
export class Overlay {
  readonly #pages = new Map<number, Page>();
  /** By page of `PAGE_BLOCKS`: the object since which all of it that has no entry is zeros. */
  readonly #zeroed = new Map<number, number>();

  get isEmpty(): boolean {
    return this.#pages.size === 0 && this.#zeroed.size === 0;
  }

  /**
   * The run that begins at block `lba`, at most `max` blocks long; `id` 0: not changed. Of blocks that are zeros `block`
   * is `ZEROS`.
   */
  find(lba: number, max: number, run: Run): void {
    if (this.isEmpty) {
      run.id = 0;
      run.block = 0;
      run.count = max;
      return;
    }
    let page = this.#pages.get(Math.floor(lba / ENTRY_BLOCKS));
    let zeroed = this.#zeroed.get(Math.floor(lba / PAGE_BLOCKS)) ?? 0;
    const entry = page === undefined ? 0 : page.ids[lba % ENTRY_BLOCKS]!;
    const id = entry === 0 ? zeroed : entry;
    const block = id === 0 ? 0 : entry === 0 ? ZEROS : page!.blocks[lba % ENTRY_BLOCKS]!;
    let count = 1;
    for (; count < max; count++) {
      const next = lba + count;
      const at = next % ENTRY_BLOCKS;
      if (at === 0) {
        page = this.#pages.get(next / ENTRY_BLOCKS);
        if (next % PAGE_BLOCKS === 0) zeroed = this.#zeroed.get(next / PAGE_BLOCKS) ?? 0;
      }
      const other = page === undefined ? 0 : page.ids[at]!;
      if ((other === 0 ? zeroed : other) !== id) break;
      if (page === undefined && (id === 0 || block === ZEROS)) {
        // All of this page is alike.
        count = Math.min(max, count + ENTRY_BLOCKS - at) - 1;
        continue;
      }
      if (id === 0) continue;
      const expected = block === ZEROS ? ZEROS : block + count;
      if ((other === 0 ? ZEROS : page!.blocks[at]!) !== expected) break;
    }
    run.id = id;
    run.block = block;
    run.count = count;
  }

  /** The block of object `id` that holds block `lba` of the disk, or -1. */
  blockOf(lba: number, id: number): number {
    const page = this.#pages.get(Math.floor(lba / ENTRY_BLOCKS));
    const at = lba % ENTRY_BLOCKS;
    if (page === undefined || page.ids[at] !== id) return -1;
    const block = page.blocks[at]!;
    return block === ZEROS ? -1 : block;
  }

  set(lba: number, count: number, id: number, block: number): void {
    for (let i = 0; i < count; i++) this.#setOne(lba + i, id, block + i);
  }

  zero(lba: number, count: number, id: number): void {
    const end = lba + count;
    const first = Math.ceil(lba / PAGE_BLOCKS);
    const last = Math.floor(end / PAGE_BLOCKS);
    if (first >= last) {
      for (let at = lba; at < end; at++) this.#setOne(at, id, ZEROS);
      return;
    }
    for (let at = lba; at < first * PAGE_BLOCKS; at++) this.#setOne(at, id, ZEROS);
    this.#forget(first * PAGE_BLOCKS, last * PAGE_BLOCKS);
    for (let page = first; page < last; page++) this.#zeroed.set(page, id);
    for (let at = last * PAGE_BLOCKS; at < end; at++) this.#setOne(at, id, ZEROS);
  }

  /** Object `id`, which changed these blocks, is durable: what nobody has changed since is in the map now. */
  drop(lba: number, count: number, id: number): void {
    const end = lba + count;
    const last = Math.floor(end / PAGE_BLOCKS);
    for (let page = Math.ceil(lba / PAGE_BLOCKS); page < last; page++)
      if (this.#zeroed.get(page) === id) this.#zeroed.delete(page);
    this.#eachPage(lba, end, (page, number) => {
      const base = number * ENTRY_BLOCKS;
      const stop = Math.min(ENTRY_BLOCKS, end - base);
      for (let at = Math.max(0, lba - base); at < stop; at++) {
        if (page.ids[at] !== id) continue;
        page.ids[at] = 0;
        page.used--;
      }
      if (page.used === 0) this.#pages.delete(number);
    });
  }

  /** Whole pages of entries from `lba` to `end`. */
  #forget(lba: number, end: number): void {
    this.#eachPage(lba, end, (_, number) => this.#pages.delete(number));
  }

  /** Pages that are there, of those between. */
  #eachPage(lba: number, end: number, take: (page: Page, number: number) => void): void {
    const first = Math.floor(lba / ENTRY_BLOCKS);
    const last = Math.ceil(end / ENTRY_BLOCKS);
    if (last - first > this.#pages.size) {
      for (const [number, page] of this.#pages) if (number >= first && number < last) take(page, number);
      return;
    }
    for (let number = first; number < last; number++) {
      const page = this.#pages.get(number);
      if (page !== undefined) take(page, number);
    }
  }

  #setOne(lba: number, id: number, block: number): void {
    const number = Math.floor(lba / ENTRY_BLOCKS);
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = { ids: new Uint32Array(ENTRY_BLOCKS), blocks: new Uint32Array(ENTRY_BLOCKS), used: 0 };
      this.#pages.set(number, page);
    }
    const at = lba % ENTRY_BLOCKS;
    if (page.ids[at] === 0) page.used++;
    page.ids[at] = id;
    page.blocks[at] = block;
  }
}
