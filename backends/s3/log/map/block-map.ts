// hot path: see ARCHITECTURE.md "Data plane"

import type { ObjectTable } from '../log-object.ts';
import { MapPage, type StoredPage } from './map-page.ts';
import { PAGE_BLOCKS, type PageBlocks } from './page-blocks.ts';

/** Consecutive blocks of the disk that are consecutive in one object. */
export interface Run {
  /** The object; 0: none, these blocks were never written or are zeros. */
  id: number;
  /** The first of them in the object. */
  block: number;
  count: number;
}

/** Reads a page from its slices. Objects lose blocks by those that are not resolved when `take` is called. */
export type LoadPage = (page: MapPage, take: (content: PageBlocks) => void) => Promise<void>;

/** Bytes of a page in memory. */
const PAGE_BYTES = 8 * PAGE_BLOCKS;
/** A request touches two. */
const FEWEST_PAGES = 8;

/** How many pages of a map may be in memory. */
export const mapPages = ({ mapCache }: { readonly mapCache: number }): number =>
  Math.max(FEWEST_PAGES, Math.floor(mapCache / PAGE_BYTES));

/** Pages that are loaded at once where many are. */
const AT_ONCE = 8;

/**
 * Where each block of the disk is in the log, as of the last object that is durable: what a recovery would find. Counts for
 * each object how many blocks come from it. Of what is stored, only those pages are in memory that somebody wanted to see;
 * changes do not need them.
 */
export class BlockMap {
  readonly #table: ObjectTable;
  readonly #load: LoadPage | undefined;
  readonly #maxLoaded: number;
  readonly #pages = new Map<number, MapPage>();
  /** Those in memory; the first is the one unused for longest. */
  readonly #loaded = new Set<MapPage>();
  #latest: MapPage | undefined;
  /** Of all pages: each object that becomes durable asks for them. */
  #used = 0;
  #unresolvedBlocks = 0;

  /** @param maxLoaded pages in memory, besides those that a checkpoint has to store first. */
  constructor(
    table: ObjectTable,
    pages: readonly StoredPage[] = [],
    load?: LoadPage,
    maxLoaded = Number.POSITIVE_INFINITY,
  ) {
    this.#table = table;
    this.#load = load;
    this.#maxLoaded = maxLoaded;
    for (const page of pages) {
      this.#pages.set(page.number, new MapPage(page.number, page));
      this.#used += page.used;
      this.#unresolvedBlocks += page.unresolvedBlocks;
    }
  }

  /** Undefined when the pages of these blocks are in memory. When it settles, they were: ask again. */
  need(lba: number, count: number): Promise<void> | undefined {
    const last = Math.floor((lba + count - 1) / PAGE_BLOCKS);
    let missing: Promise<void>[] | undefined;
    for (let number = Math.floor(lba / PAGE_BLOCKS); number <= last; number++) {
      const page = this.#pages.get(number);
      if (page === undefined) continue;
      if (page.content === undefined) {
        missing ??= [];
        missing.push(this.#loading(page));
      } else if (page !== this.#latest) {
        this.#latest = page;
        this.#loaded.delete(page);
        this.#loaded.add(page);
      }
    }
    return missing && (missing.length === 1 ? missing[0] : Promise.all(missing).then(() => undefined));
  }

  /** Settles when the page is in memory. */
  async needPage(page: MapPage): Promise<void> {
    if (page.content === undefined) await this.#loading(page);
  }

  /** The run that begins at block `lba`, at most `max` blocks long. Its pages are in memory. */
  find(lba: number, max: number, run: Run): void {
    let number = Math.floor(lba / PAGE_BLOCKS);
    const at = lba % PAGE_BLOCKS;
    let content = this.#contentOf(number);
    const id = content === undefined ? 0 : content.ids[at]!;
    run.id = id;
    run.block = id === 0 ? 0 : content!.blocks[at]!;
    let count = 0;
    for (let slot = at; ; slot = 0) {
      const end = Math.min(PAGE_BLOCKS, slot + max - count);
      const isSame =
        content === undefined
          ? id === 0
          : content.ids[slot] === id && (id === 0 || content.blocks[slot] === run.block + count);
      if (!isSame) break;
      const length = content === undefined ? end - slot : content.runLength(slot, end);
      count += length;
      if (count === max || slot + length < PAGE_BLOCKS) break;
      content = this.#contentOf(++number);
    }
    run.count = count;
  }

  set(lba: number, count: number, id: number, block: number): void {
    this.#table.get(id).live += count;
    this.#each(lba, count, (number, at, n, done) =>
      this.#change(this.#page(number), at, n, id, block + done, 0, 0),
    );
  }

  /** As `set`, for those blocks that are still where they were copied from. */
  move(lba: number, count: number, id: number, block: number, fromId: number, fromBlock: number): void {
    const to = this.#table.get(id);
    this.#each(lba, count, (number, at, n, done) => {
      const page = this.#pages.get(number);
      if (page === undefined) return;
      to.live += n;
      this.#change(page, at, n, id, block + done, fromId, fromBlock + done);
    });
  }

  clear(lba: number, count: number): void {
    const [first, end] = [Math.floor(lba / PAGE_BLOCKS), lba + count];
    const clear = (page: MapPage): void => {
      const base = page.number * PAGE_BLOCKS;
      const at = Math.max(0, lba - base);
      this.#change(page, at, Math.min(PAGE_BLOCKS, end - base) - at, 0, 0, 0, 0);
    };
    // Of a disk that is mostly empty, look at what is there.
    if (Math.ceil(end / PAGE_BLOCKS) - first > this.#pages.size) {
      for (const page of this.#pages.values())
        if (page.number >= first && page.number * PAGE_BLOCKS < end) clear(page);
    } else
      for (let number = first; number * PAGE_BLOCKS < end; number++) {
        const page = this.#pages.get(number);
        if (page !== undefined) clear(page);
      }
  }

  /** Every run that is not a hole, in the order of the disk; pages are loaded one after another. */
  async eachRun(take: (run: Readonly<Run> & { readonly lba: number }) => void): Promise<void> {
    for (const page of this.inOrder()) for (const run of await this.runsOf(page)) take(run);
  }

  /** Every run of a page that is not a hole, in their order. */
  async runsOf(page: MapPage): Promise<(Run & { readonly lba: number })[]> {
    while (page.content === undefined) await this.#loading(page);
    const runs: (Run & { readonly lba: number })[] = [];
    const base = page.number * PAGE_BLOCKS;
    page.content.runs((at, count, id, block) => runs.push({ lba: base + at, id, block, count }));
    return runs;
  }

  /** Blocks that are not holes: at most so many, and exactly while all pages are in memory. */
  get used(): number {
    return this.#used;
  }

  /** Blocks that changed in pages which nobody has looked at since: what these changes free is not known. */
  get unresolvedBlocks(): number {
    return this.#unresolvedBlocks;
  }

  inOrder(): MapPage[] {
    return [...this.#pages.values()].sort((a, b) => a.number - b.number);
  }

  /** Undefined where nothing but zeros is. */
  pageAt(number: number): MapPage | undefined {
    return this.#pages.get(number);
  }

  /** Loads as many pages as may be in memory, up to the first that cannot be read. */
  async fill(): Promise<void> {
    const pages = this.inOrder().slice(0, Math.min(this.#maxLoaded, this.#pages.size));
    await this.#loadSome(pages).catch(() => undefined);
  }

  /** Pages with many changes that nobody has looked at: from now on it is known what they freed. */
  async resolve(most: number): Promise<void> {
    const pages = [...this.#pages.values()].filter(({ unresolvedBlocks }) => unresolvedBlocks > 0);
    pages.sort((a, b) => b.unresolvedBlocks - a.unresolvedBlocks);
    await this.#loadSome(pages.slice(0, most));
  }

  async #loadSome(pages: readonly MapPage[]): Promise<void> {
    for (let i = 0; i < pages.length; i += AT_ONCE)
      await Promise.all(pages.slice(i, i + AT_ONCE).map((page) => this.needPage(page)));
  }

  /** A page of which a checkpoint has nothing any more, and that holds nothing. */
  forget(page: MapPage): void {
    this.#used -= page.used;
    this.#unresolvedBlocks -= page.unresolvedBlocks;
    this.#pages.delete(page.number);
    this.#loaded.delete(page);
    if (this.#latest === page) this.#latest = undefined;
  }

  /**
   * Those in memory that were not used for longest leave it, unless they have to be stored first. The one used last stays:
   * somebody may just have waited for it.
   */
  trim(most = this.#maxLoaded): void {
    for (const page of this.#loaded) {
      if (this.#loaded.size <= most) return;
      if (!page.isClean || page === this.#latest) continue;
      this.#loaded.delete(page);
      page.unload();
    }
  }

  /** So many pages in memory have to be stored that a checkpoint is due. */
  get isCrowded(): boolean {
    return this.#loaded.size > 2 * this.#maxLoaded;
  }

  #contentOf(number: number): PageBlocks | undefined {
    const page = this.#pages.get(number);
    if (page === undefined) return undefined;
    if (page.content === undefined) throw new Error(`page ${number} of the map is not in memory`);
    return page.content;
  }

  #page(number: number): MapPage {
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = new MapPage(number);
      this.#pages.set(number, page);
      this.#loaded.add(page);
    }
    return page;
  }

  #change(
    page: MapPage,
    at: number,
    count: number,
    id: number,
    block: number,
    fromId: number,
    fromBlock: number,
  ): void {
    const { used, unresolvedBlocks } = page;
    page.change(this.#table, at, count, id, block, fromId, fromBlock);
    this.#count(page, used, unresolvedBlocks);
  }

  /** What the page was like before it changed. */
  #count(page: MapPage, used: number, unresolvedBlocks: number): void {
    this.#used += page.used - used;
    this.#unresolvedBlocks += page.unresolvedBlocks - unresolvedBlocks;
  }

  #loading(page: MapPage): Promise<void> {
    page.loading ??= this.#load!(page, (content) => {
      const { used, unresolvedBlocks } = page;
      page.loaded(this.#table, content);
      this.#count(page, used, unresolvedBlocks);
      this.#loaded.add(page);
      this.#latest = page;
    }).finally(() => {
      page.loading = undefined;
      this.trim();
    });
    return page.loading;
  }

  #each(
    lba: number,
    count: number,
    take: (number: number, at: number, count: number, done: number) => void,
  ): void {
    for (let done = 0; done < count; ) {
      const at = (lba + done) % PAGE_BLOCKS;
      const n = Math.min(PAGE_BLOCKS - at, count - done);
      take(Math.floor((lba + done) / PAGE_BLOCKS), at, n, done);
      done += n;
    }
  }
}
