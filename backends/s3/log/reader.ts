// hot path: see ARCHITECTURE.md "Data plane"

import { BlockError, copyIn, fillZero, GatewayError, type IoVec, settleAll } from '../../../core/plugin.ts';
import { copyFrames } from '../cache/frame-memory.ts';
import { ReadAhead } from '../cache/read-ahead.ts';
import { toBlockError } from '../errors.ts';
import { FetchAlong } from './cache/fetch-along.ts';
import type { FrameCache } from './cache/frame-cache.ts';
import type { LogObject, ObjectTable } from './log-object.ts';
import type { BlockMap, Run } from './map/block-map.ts';
import { PAGE_BLOCKS } from './map/page-blocks.ts';
import { BLOCK, FRAME, FRAME_BLOCKS } from './object-header.ts';
import { type Overlay, ZEROS } from './overlay.ts';

/** Blocks of one object that have to come from the store. */
interface Missing {
  readonly object: LogObject;
  readonly block: number;
  readonly count: number;
  /** Where they go in the request. Bytes. */
  readonly at: number;
}

/** Reads blocks, from wherever the newest of each is. */
export class LogReader {
  readonly #map: BlockMap;
  readonly #overlay: Overlay;
  readonly #table: ObjectTable;
  readonly #frames: FrameCache;
  readonly #run: Run = { id: 0, block: 0, count: 0 };
  readonly #ahead = new ReadAhead();
  readonly #along: FetchAlong;

  constructor(map: BlockMap, overlay: Overlay, table: ObjectTable, frames: FrameCache) {
    this.#map = map;
    this.#overlay = overlay;
    this.#table = table;
    this.#frames = frames;
    this.#along = new FetchAlong(frames);
  }

  /** Fills `iov` with `blocks` blocks. Returns nothing when all of them were in memory. */
  read(lba: number, blocks: number, iov: IoVec, diskBlocks: number): Promise<void> | undefined {
    const loading = this.#map.need(lba, blocks);
    return loading === undefined
      ? this.#read(lba, blocks, iov, diskBlocks)
      : this.#whenMapped(loading, lba, blocks, () => this.#read(lba, blocks, iov, diskBlocks));
  }

  #read(lba: number, blocks: number, iov: IoVec, diskBlocks: number): Promise<void> | undefined {
    let missing: Missing[] | undefined;
    this.#each(lba, blocks, (object, block, count, at) => {
      if (object === undefined) fillZero(iov, at * BLOCK, count * BLOCK);
      else if (object.data !== undefined)
        copyIn(iov, object.data.subarray(block * BLOCK, (block + count) * BLOCK), at * BLOCK);
      else if (!this.#fromCache(object, block, count, iov, at * BLOCK)) {
        missing ??= [];
        missing.push({ object, block, count, at: at * BLOCK });
      }
    });
    const fetched = missing && this.#fetch(missing, iov);
    this.#readAhead(lba, blocks, diskBlocks);
    return fetched;
  }

  /** Has blocks in memory that only the store has, as far as that does not drive out what is in use. */
  prefetch(lba: number, blocks: number): Promise<void> {
    const loading = this.#map.need(lba, blocks);
    return loading === undefined
      ? this.#prefetch(lba, blocks)
      : this.#whenMapped(loading, lba, blocks, () => this.#prefetch(lba, blocks));
  }

  #prefetch(lba: number, blocks: number): Promise<void> {
    let room = this.#frames.spare;
    const fetches: Promise<unknown>[] = [];
    this.#eachStored(lba, blocks, (object, first, frames) => {
      if (room === 0) return;
      const fitting = Math.min(frames, room);
      room -= fitting;
      fetches.push(this.#frames.fetch(object, first, fitting));
    });
    return settleAll(fetches);
  }

  /** The frames of each run of blocks that the store has. Returns nothing when all of the map that says it was in memory. */
  stored(
    lba: number,
    blocks: number,
    take: (object: LogObject, first: number, frames: number) => void,
  ): Promise<void> | undefined {
    const loading = this.#map.need(lba, blocks);
    return loading === undefined
      ? this.#eachStored(lba, blocks, take)
      : this.#whenMapped(loading, lba, blocks, () => this.#eachStored(lba, blocks, take));
  }

  #eachStored(
    lba: number,
    blocks: number,
    take: (object: LogObject, first: number, frames: number) => void,
  ): undefined {
    this.#each(lba, blocks, (object, block, count) => {
      if (object !== undefined && object.data === undefined) take(object, ...framesOf(block, count));
    });
  }

  /** The kinds of the runs from `lba` on. Returns nothing when all of the map that says it was in memory. */
  kinds(
    lba: number,
    blocks: number,
    take: (isHole: boolean, from: number, count: number) => void,
  ): Promise<void> | undefined {
    for (let at = lba; at < lba + blocks; ) {
      const count = Math.min(lba + blocks - at, PAGE_BLOCKS - (at % PAGE_BLOCKS));
      const loading = this.#map.need(at, count);
      if (loading !== undefined) {
        const [from, left] = [at, lba + blocks - at];
        return this.#whenMapped(loading, from, count, () => this.kinds(from, left, take));
      }
      this.#each(at, count, (object, _block, n, done) => take(object === undefined, at + done, n));
      at += count;
    }
    return undefined;
  }

  /** Runs `run` in the very step in which the map has these blocks in memory: later it may not have them any more. */
  async #whenMapped(
    loading: Promise<void>,
    lba: number,
    blocks: number,
    run: () => Promise<void> | undefined,
  ): Promise<void> {
    try {
      for (
        let next: Promise<void> | undefined = loading;
        next !== undefined;
        next = this.#map.need(lba, blocks)
      )
        await next;
    } catch (error) {
      throw unreadable(error);
    }
    await run();
  }

  #each(
    lba: number,
    blocks: number,
    take: (object: LogObject | undefined, block: number, count: number, at: number) => void,
  ): void {
    const run = this.#run;
    for (let at = 0; at < blocks; ) {
      this.#overlay.find(lba + at, blocks - at, run);
      let { id, block, count } = run;
      if (id === 0) {
        this.#map.find(lba + at, count, run);
        ({ id, block, count } = run);
      } else if (block === ZEROS) id = 0;
      take(id === 0 ? undefined : this.#table.get(id), block, count, at);
      at += count;
    }
  }

  #fromCache(object: LogObject, block: number, count: number, iov: IoVec, at: number): boolean {
    const [first, length] = framesOf(block, count);
    const frames: Buffer[] = [];
    for (let i = 0; i < length; i++) {
      const found = this.#along.peek(object, first + i);
      if (found === undefined) return false;
      frames.push(found);
    }
    copyBlocks(frames, block, count, iov, at);
    return true;
  }

  #fetch(missing: readonly Missing[], iov: IoVec): Promise<void> {
    return settleAll(
      missing.map(async ({ object, block, count, at }) => {
        const [first, frames] = framesOf(block, count);
        copyBlocks(await this.#along.fetch(object, first, frames), block, count, iov, at);
      }),
    );
  }

  #readAhead(lba: number, blocks: number, diskBlocks: number): void {
    const { from, to } = this.#ahead.after(
      lba * BLOCK,
      blocks * BLOCK,
      diskBlocks * BLOCK,
      this.#frames.spare * FRAME,
    );
    if (from === to) return;
    const [first, count] = [from / BLOCK, (to - from) / BLOCK];
    const fetch = (): undefined => {
      let room = this.#frames.spare;
      this.#eachStored(first, count, (object, frame, frames) => {
        const fitting = Math.min(frames, room);
        room -= fitting;
        // A failure is for the read that needs it to report.
        if (fitting > 0) this.#frames.fetch(object, frame, fitting).catch(() => undefined);
      });
    };
    const loading = this.#map.need(first, count);
    if (loading === undefined) fetch();
    else this.#whenMapped(loading, first, count, fetch).catch(() => undefined);
  }
}

/** Where blocks are cannot be found out. */
function unreadable(error: unknown): unknown {
  if (!GatewayError.is(error)) return toBlockError(error);
  return new BlockError('EIO', `the map of the volume cannot be read: ${error.message} ${error.why ?? ''}`, {
    cause: error,
  });
}

/** The frames that hold `count` blocks from `block` on: the first, and how many. */
function framesOf(block: number, count: number): [first: number, count: number] {
  const first = Math.floor(block / FRAME_BLOCKS);
  return [first, Math.floor((block + count - 1) / FRAME_BLOCKS) - first + 1];
}

/** `count` blocks from `block` on, out of the frames from that which holds `block`. */
const copyBlocks = (frames: readonly Buffer[], block: number, count: number, iov: IoVec, at: number): void =>
  copyFrames(frames, FRAME, (block % FRAME_BLOCKS) * BLOCK, count * BLOCK, iov, at);
