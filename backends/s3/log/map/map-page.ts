// hot path: see ARCHITECTURE.md "Data plane"

import type { ObjectTable } from '../log-object.ts';
import { Changes } from './changes.ts';
import { PAGE_BLOCKS, PageBlocks } from './page-blocks.ts';
import type { SliceRef } from './part.ts';

/** A page that is in memory and has more changes than this is stored whole. */
const MAX_CHANGES = 2048;
/** A page that consists of more slices than this is put together. */
export const MANY_SLICES = 16;

/**
 * A page of the map: what checkpoints have of it, as slices (the whole page first, then what changed, in order), and what has
 * changed since. It need not be in memory: then changes are only noted, and which objects lose blocks by them is found out
 * when the page is loaded. Until then these objects seem to have more blocks than they have, never fewer.
 */
export class MapPage {
  readonly number: number;
  /** Undefined while it is not in memory. */
  content: PageBlocks | undefined;
  #slices: readonly SliceRef[];
  /** So many of the slices, the last ones, and the blocks in them, are such that objects have not lost what they lose by them. */
  #unresolved: number;
  #unresolvedBlocks: number;
  /** At most so many blocks are not zeros. */
  #used: number;
  /** Not in a checkpoint. */
  #changes: Changes | undefined;
  /** In the checkpoint that is being stored. */
  #cut: Changes | undefined;
  /** The next checkpoint has all of it. */
  #isWhole: boolean;
  /** The one that is being stored has. */
  #isCutWhole = false;
  /** Stored while the page was being loaded from the slices before. */
  #late: Changes[] = [];
  loading: Promise<void> | undefined;

  /** A page of a checkpoint, or with nothing but zeros where there are no slices. */
  constructor(number: number, stored?: StoredPage) {
    this.number = number;
    this.#slices = stored?.slices ?? [];
    this.#unresolved = stored?.unresolved ?? 0;
    this.#unresolvedBlocks = stored?.unresolvedBlocks ?? 0;
    this.#used = stored?.used ?? 0;
    this.#isWhole = stored === undefined;
    if (stored === undefined) this.content = new PageBlocks();
  }

  get slices(): readonly SliceRef[] {
    return this.#slices;
  }

  get used(): number {
    return this.content?.used ?? this.#used;
  }

  get unresolved(): number {
    return this.#unresolved;
  }

  /** Blocks in changes of which it is not known what loses them. */
  get unresolvedBlocks(): number {
    return this.#unresolvedBlocks;
  }

  /** It is as the last checkpoint has it. */
  get isClean(): boolean {
    return !this.#isWhole && !this.#isCutWhole && this.#changes === undefined && this.#cut === undefined;
  }

  /** It is not in memory, and all zeros: as if it were not there. */
  get isNothing(): boolean {
    return (
      this.content === undefined &&
      this.loading === undefined &&
      this.#used === 0 &&
      this.#unresolvedBlocks === 0
    );
  }

  /** `id`, if it is not 0, has been given all of these blocks. */
  change(
    table: ObjectTable,
    at: number,
    count: number,
    id: number,
    block: number,
    fromId: number,
    fromBlock: number,
  ): void {
    if (this.content === undefined) {
      this.#unresolvedBlocks += count;
      if (id !== 0 && fromId === 0) this.#used = Math.min(PAGE_BLOCKS, this.#used + count);
      else if (id === 0 && count === PAGE_BLOCKS) this.#used = 0;
    } else this.content.apply(at, count, id, block, fromId, fromBlock, table);
    if (this.#isWhole) return;
    this.#changes ??= new Changes();
    this.#changes.add(at, count, id, block, fromId, fromBlock);
    if (this.content !== undefined && this.#changes.length > MAX_CHANGES) this.storeWhole();
  }

  /** It is in memory, and the next checkpoint has all of it. */
  storeWhole(): void {
    this.#isWhole = true;
    this.#changes = undefined;
  }

  /** `stored` has what its slices say when loading began; of the last `unresolved` of them objects lose blocks now. */
  loaded(table: ObjectTable, content: PageBlocks): void {
    for (const changes of [...this.#late, this.#cut, this.#changes])
      changes?.each((at, count, id, block, fromId, fromBlock) =>
        content.apply(at, count, id, block, fromId, fromBlock, table),
      );
    this.#late = [];
    this.#unresolved = 0;
    this.#unresolvedBlocks = 0;
    this.content = content;
  }

  /** Gives its memory back. It is clean. */
  unload(): void {
    this.#used = this.used;
    this.content = undefined;
  }

  /**
   * What the checkpoint that is made now has to store of it: all of it, some changes, or nothing. Another one is not made
   * before `cutStored` or `cutFailed`.
   */
  cut(table: ObjectTable): PageBlocks | Changes | undefined {
    if (this.content === undefined) this.#dropVoid(table);
    else if (this.#changes !== undefined && this.#isWorthWhole()) this.storeWhole();
    if (this.#isWhole) {
      this.#isWhole = false;
      this.#isCutWhole = true;
      return this.content!;
    }
    this.#cut = this.#changes;
    this.#changes = undefined;
    return this.#cut;
  }

  /** What is gone has no blocks that could be moved: those that were given them lose them. */
  #dropVoid(table: ObjectTable): void {
    if (this.#changes === undefined) return;
    const kept = new Changes();
    this.#changes.each((at, count, id, block, fromId, fromBlock) => {
      if (fromId !== 0 && table.peek(fromId) === undefined) table.get(id).live -= count;
      else kept.add(at, count, id, block, fromId, fromBlock);
    });
    this.#changes = kept;
  }

  /** When what has changed is more than a quarter of the page, or in too many pieces. */
  #isWorthWhole(): boolean {
    const [whole, ...changed] = this.#slices;
    if (whole === undefined || changed.length + 1 >= MANY_SLICES) return true;
    const bytes = changed.reduce((sum, { length }) => sum + length, this.#changes!.length * CHANGE_BYTES);
    return 4 * bytes > whole.length;
  }

  /** As the checkpoint that is being made has it: of changes that nobody has resolved, objects have not lost anything. */
  stateAfter(added: SliceRef | undefined): StoredPage {
    const isResolved = this.content !== undefined;
    const slices = added === undefined ? this.#slices : this.#isCutWhole ? [added] : [...this.#slices, added];
    return {
      number: this.number,
      used: this.used,
      slices,
      unresolved: isResolved ? 0 : this.#unresolved + (added === undefined ? 0 : 1),
      unresolvedBlocks: this.#unresolvedBlocks,
    };
  }

  cutStored(state: StoredPage): void {
    const hasMore = state.slices.length > this.#slices.length && !this.#isCutWhole;
    this.#slices = state.slices;
    if (this.content === undefined && hasMore) {
      this.#unresolved++;
      if (this.loading !== undefined) this.#late.push(this.#cut!);
    }
    this.#cut = undefined;
    this.#isCutWhole = false;
  }

  cutFailed(): void {
    if (this.#isCutWhole) this.storeWhole();
    else if (this.#cut !== undefined) {
      const all = this.#cut;
      this.#changes?.each((...change) => all.add(...change));
      if (!this.#isWhole) this.#changes = all;
    }
    this.#cut = undefined;
    this.#isCutWhole = false;
  }
}

/** About what a change takes in a slice. */
const CHANGE_BYTES = 20;

/** A page as a checkpoint describes it. */
export interface StoredPage {
  readonly number: number;
  /** At most so many blocks are not zeros. */
  readonly used: number;
  readonly slices: readonly SliceRef[];
  readonly unresolved: number;
  readonly unresolvedBlocks: number;
}
