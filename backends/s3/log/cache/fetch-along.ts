// hot path: see ARCHITECTURE.md "Data plane"

import type { LogObject } from '../log-object.ts';
import { FRAME_BLOCKS } from '../object-header.ts';
import { type FrameCache, keyOf } from './frame-cache.ts';

/** As near as this behind what was fetched is as good as next to it. Frames: 128 KiB. */
const NEAR = 8;
/** What is fetched with a frame at first, and where one follows on another. Frames: 128 KiB. */
const FIRST = 8;
/** At most. Frames: 1 MiB around a frame that is not in memory, 2 MiB ahead of those that are. */
const MOST_AROUND = 64;
const MOST_AHEAD = 128;
/** Fetches that are remembered, and how many later it is decided that one was in vain. */
const REMEMBERED = 16;
const PATIENCE = 8;

/** Frames of an object that were fetched with one request, and how many of them nobody had asked for. */
interface Fetched {
  readonly object: LogObject;
  /** The frame after the last. */
  readonly end: number;
  readonly frames: number;
  readonly along: number;
  /** Nobody had asked for any. */
  readonly isAhead: boolean;
  /** Of `along`. */
  used: number;
  isJudged: boolean;
  isFollowed: boolean;
}

/**
 * Fetches with a frame those around it in its object, as many as has turned out to be worth it. What was written together,
 * such as the files of an archive, is often read together, in an order that is not that of the disk. While half of what is
 * fetched along is read as well, twice as much is fetched along; while less than a quarter is, half as much, down to nothing
 * where reads are random.
 */
export class FetchAlong {
  readonly #frames: FrameCache;
  /** The newest is the last. */
  readonly #recent: Fetched[] = [];
  /** Frames that were fetched along and that nobody has read yet. */
  readonly #unused = new Map<number, Fetched>();
  #around = FIRST;

  constructor(frames: FrameCache) {
    this.#frames = frames;
  }

  /** A frame that is in memory. */
  peek(object: LogObject, frame: number): Buffer | undefined {
    const found = this.#frames.peek(object, frame);
    if (found !== undefined && this.#unused.size > 0) this.#use(object, frame);
    return found;
  }

  /** Frames that are not all in memory, as `FrameCache.fetch`. */
  fetch(object: LogObject, first: number, count: number): Promise<Buffer[]> {
    let isOnItsWay = true;
    for (let frame = first; frame < first + count; frame++)
      if (!this.#frames.has(object, frame)) isOnItsWay = false;
      else if (this.#unused.size > 0) this.#use(object, frame);
    if (!isOnItsWay) this.#fetchAround(object, first, count);
    return this.#frames.fetch(object, first, count);
  }

  #fetchAround(object: LogObject, first: number, count: number): void {
    const last = framesOf(object);
    const isNext = this.#recent.some(
      (other) => other.object === object && first + count > other.end && first <= other.end + NEAR,
    );
    const size = isNext ? Math.max(FIRST, this.#around) : this.#around;
    const least = isNext ? first : first - (first % size);
    const most = Math.min(last, Math.max(least + size, first + count));
    // One request: up to what is there already.
    let [from, end] = [first, first + count];
    while (from > least && !this.#frames.has(object, from - 1)) from--;
    while (end < most && !this.#frames.has(object, end)) end++;
    const along = end - from - count;
    const fits = along <= this.#frames.spare - this.#unused.size;
    this.#remember(object, fits ? from : first, fits ? end : first + count, first, count);
  }

  /** A frame that was fetched along is read. */
  #use(object: LogObject, frame: number): void {
    const key = keyOf(object, frame);
    const fetched = this.#unused.get(key);
    if (fetched === undefined) return;
    this.#unused.delete(key);
    fetched.used++;
    const isWorth = 2 * fetched.used >= fetched.along;
    if (isWorth && !fetched.isJudged) {
      fetched.isJudged = true;
      this.#around = Math.min(MOST_AROUND, Math.max(this.#around, 2 * fetched.frames));
    }
    if (!fetched.isFollowed && (isWorth || fetched.isAhead)) this.#follow(fetched);
  }

  /** Fetches what comes behind it before somebody asks for it. */
  #follow(fetched: Fetched): void {
    fetched.isFollowed = true;
    const { object } = fetched;
    const last = framesOf(object);
    let from = fetched.end;
    while (from < last && this.#frames.has(object, from)) from++;
    if (from - fetched.end > fetched.frames) return;
    const most = Math.min(last, from + Math.min(MOST_AHEAD, 2 * fetched.frames));
    let end = from;
    while (end < most && !this.#frames.has(object, end)) end++;
    if (end > from && end - from <= this.#frames.spare - this.#unused.size)
      this.#remember(object, from, end, from, 0);
  }

  /** Fetches frames `from` … `end` - 1, of which `count` from `first` on are asked for. */
  #remember(object: LogObject, from: number, end: number, first: number, count: number): void {
    const frames = end - from;
    const fetched: Fetched = {
      object,
      end,
      frames,
      along: frames - count,
      isAhead: count === 0,
      used: 0,
      isJudged: frames === count,
      isFollowed: false,
    };
    for (let frame = from; frame < end; frame++)
      if (frame < first || frame >= first + count) this.#unused.set(keyOf(object, frame), fetched);
    this.#recent.push(fetched);
    if (this.#recent.length > PATIENCE) this.#judge(this.#recent.at(-1 - PATIENCE)!);
    if (this.#recent.length > REMEMBERED) this.#recent.shift();
    // A failure is for the read that needs it to report.
    if (fetched.along > 0) this.#frames.fetch(object, from, frames).catch(() => undefined);
  }

  #judge(fetched: Fetched): void {
    if (!fetched.isJudged && 4 * fetched.used < fetched.along)
      this.#around = Math.max(1, Math.floor(this.#around / 2));
    fetched.isJudged = true;
    for (const [key, of] of this.#unused) if (of === fetched) this.#unused.delete(key);
  }
}

const framesOf = ({ blocks }: LogObject): number => Math.ceil(blocks / FRAME_BLOCKS);
