import type { FrameCache } from '../cache/frame-cache.ts';
import { gather, type LiveRun } from '../collection/gather.ts';
import type { LogSource } from '../log-source.ts';
import type { Run } from '../map/block-map.ts';
import { needsOfAll } from '../map/needs.ts';
import { PAGE_BLOCKS } from '../map/page-blocks.ts';
import { BLOCK } from '../object-header.ts';
import type { LogWriter } from '../writer.ts';

/** Of an object, with one request: 2 MiB. Blocks. */
const PIECE = 512;
/** Pages of the map between two checkpoints: they stay in memory until then. */
const PAGES = 256;
/** Pages of the map of which blocks are copied together. */
const PAGES_AT_ONCE = 64;

export interface FlatteningOptions {
  readonly writer: LogWriter;
  readonly source: LogSource;
  readonly frames: Pick<FrameCache, 'readAside'>;
  /** Copied at once. Blocks. */
  readonly batch: number;
  /** Of the map, in memory. */
  readonly mapPages: number;
  /** Nothing more is to be changed. */
  readonly isStopped: () => boolean;
  /** What could not be read, and is as it was. Throws what shall end all of it. */
  readonly onUnreadable: (error: unknown) => void;
}

export interface Step {
  /** Pages of the map that were looked at, and all of them. */
  readonly done: number;
  readonly total: number;
  /** Whether anything was copied in this step. */
  readonly hasCopied: boolean;
}

/**
 * Copies what a clone has of others into its own log, while somebody may write to it. In the very step in which a copy is put
 * at the end of the log, each of its blocks has to be where it was read: in the map, and not changed by anything on its way. So
 * it comes after all that was there before, and before all that is written later, and needs no mark in the log.
 */
export class Flattening {
  readonly #options: FlatteningOptions;
  /** Keys of checkpoints of snapshots that need nothing of others. */
  readonly #own = new Set<string>();

  constructor(options: FlatteningOptions) {
    this.#options = options;
  }

  /** Bytes that come from others, at most; what is on its way to the store included. */
  get left(): number {
    return BLOCK * this.#options.writer.recovered.stored.foreignBlocks;
  }

  /** Names of the snapshots that need something of others: what they are made of stays as it is. */
  async needing(): Promise<string[]> {
    const { writer, source } = this.#options;
    const needing: string[] = [];
    for (const { name, checkpoint } of writer.head.snapshots) {
      if (this.#own.has(checkpoint.key)) continue;
      const needs = await needsOfAll(source, [checkpoint]);
      if ([...needs].some((key) => !key.startsWith(source.names.root))) needing.push(name);
      else this.#own.add(checkpoint.key);
    }
    return needing;
  }

  /** Everything, in the order of the disk. */
  async *copyAll(): AsyncGenerator<Step> {
    const { writer, batch: most, mapPages, isStopped } = this.#options;
    const { stored } = writer.recovered;
    const between = Math.min(PAGES, mapPages);
    const atOnce = Math.max(1, Math.min(PAGES_AT_ONCE, Math.floor(mapPages / 4)));
    await stored.knowObjects();
    const numbers = stored.map.inOrder().map(({ number }) => number);
    let [batch, blocks]: [LiveRun[], number] = [[], 0];
    let [since, owned] = [0, 0];
    const copy = async (): Promise<void> => {
      const pieces = batch;
      [batch, blocks, since] = [[], 0, 0];
      if (pieces.length > 0) await this.#copy(pieces);
    };
    for (const [done, number] of numbers.entries()) {
      const { pieces, isOwned } = await this.#foreignOf(number);
      if (isOwned) owned++;
      since++;
      for (const piece of pieces) {
        if (blocks + piece.count > most) {
          await copy();
          yield { done, total: numbers.length, hasCopied: true };
        }
        batch.push(piece);
        blocks += piece.count;
      }
      const hasCopied = (since >= atOnce || owned >= between) && batch.length > 0;
      if (hasCopied) await copy();
      if (owned >= between) {
        await this.#checkpoint();
        owned = 0;
      }
      if (isStopped()) return;
      yield { done: done + 1, total: numbers.length, hasCopied };
    }
    const hasCopied = batch.length > 0;
    await copy();
    yield { done: numbers.length, total: numbers.length, hasCopied };
  }

  /** Whether the volume needs nothing of others any more, its snapshots aside. */
  async settle(): Promise<boolean> {
    const { writer, isStopped } = this.#options;
    const { stored } = writer.recovered;
    await writer.appender.flushToStore();
    // Of pages that had left the memory it is not known what the copies freed.
    if (this.left > 0) await stored.map.resolve(Number.POSITIVE_INFINITY);
    await this.#checkpoint();
    return stored.isOwn && !isStopped();
  }

  /** The head says so from now on. False: there is a snapshot of which it is not known whether it needs others. */
  async mark(): Promise<boolean> {
    let isFlat = false;
    if (this.#options.isStopped()) return false;
    await this.#options.writer.change(({ snapshots, points }) => {
      isFlat = snapshots.every(({ checkpoint }) => this.#own.has(checkpoint.key));
      if (!isFlat) return {};
      // Points of before need the parent: they go, as of this moment there is nothing to go back to.
      return { isFlat, ...(points !== undefined && { points: [] }) };
    });
    return isFlat;
  }

  /** What was copied is in the log, and then in the map. */
  async #checkpoint(): Promise<void> {
    const { writer, isStopped } = this.#options;
    await writer.appender.flushToStore();
    // Whoever stops this lets the volume go next.
    if (!isStopped()) await writer.checkpoint();
  }

  /** What of a page comes from others, in pieces. The next checkpoint has the page in this volume: `isOwned`, if that is new. */
  async #foreignOf(
    number: number,
  ): Promise<{ readonly pieces: readonly LiveRun[]; readonly isOwned: boolean }> {
    const { writer, source, batch, onUnreadable } = this.#options;
    const most = Math.min(PIECE, batch);
    const { map, table } = writer.recovered.stored;
    const pieces: LiveRun[] = [];
    try {
      const page = map.pageAt(number);
      if (page === undefined) return { pieces, isOwned: false };
      for (const { id, lba, block, count } of await map.runsOf(page)) {
        const object = table.peek(id);
        if (object === undefined || object.names.root === source.names.root) continue;
        for (let at = 0; at < count; at += most)
          pieces.push({ object, lba: lba + at, block: block + at, count: Math.min(most, count - at) });
      }
      const isThere = map.pageAt(number) === page;
      return { pieces, isOwned: isThere && (await writer.recovered.stored.ownPage(page)) };
    } catch (error) {
      onUnreadable(error);
      return { pieces: [], isOwned: false };
    }
  }

  async #copy(pieces: readonly LiveRun[]): Promise<void> {
    const { writer, frames, isStopped, onUnreadable } = this.#options;
    const { map } = writer.recovered.stored;
    let data: readonly (Buffer | undefined)[];
    try {
      data = await gather(
        { fetch: (object, first, count) => frames.readAside(object, first, count) },
        pieces,
      );
    } catch (error) {
      return onUnreadable(error);
    }
    let rest = pieces.flatMap((run, i) => (data[i] === undefined ? [] : { run, data: data[i] }));
    while (rest.length > 0) {
      try {
        await Promise.all(rest.map(({ run: { lba, count } }) => map.need(lba, count)));
      } catch (error) {
        return onUnreadable(error);
      }
      if (isStopped()) return;
      rest = this.#append(rest);
    }
  }

  /** In one step. Returns those of which the map is not in memory. */
  #append(copies: readonly Copy[]): Copy[] {
    const { appender, overlay } = this.#options.writer;
    const isThere = ({ run }: Copy): boolean => this.#isMapped(run.lba);
    const still = copies.filter(isThere).flatMap((copy) => [...this.#still(copy)]);
    if (still.length > 0)
      appender.append((batch) => {
        for (const { lba, data } of still) batch.write(0, lba, data.length / BLOCK, [data], 0, overlay);
      });
    return copies.filter((copy) => !isThere(copy));
  }

  #isMapped(lba: number): boolean {
    const page = this.#options.writer.recovered.stored.map.pageAt(Math.floor(lba / PAGE_BLOCKS));
    return page === undefined || page.content !== undefined;
  }

  /** The parts of a copy whose blocks are where they were read. */
  *#still({ run: { object, lba, block, count }, data }: Copy): Generator<{
    readonly lba: number;
    readonly data: Buffer;
  }> {
    const { overlay, recovered } = this.#options.writer;
    const found: Run = { id: 0, block: 0, count: 0 };
    for (let at = 0; at < count; at += found.count) {
      overlay.find(lba + at, count - at, found);
      if (found.id !== 0) continue;
      recovered.stored.map.find(lba + at, found.count, found);
      if (found.id === object.id && found.block === block + at)
        yield { lba: lba + at, data: data.subarray(at * BLOCK, (at + found.count) * BLOCK) };
    }
  }
}

interface Copy {
  readonly run: LiveRun;
  readonly data: Buffer;
}
