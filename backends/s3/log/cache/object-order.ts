// hot path: see ARCHITECTURE.md "Data plane"

import type { LogObject } from '../log-object.ts';
import { FRAME_BLOCKS } from '../object-header.ts';

/** Objects that are watched. */
const WATCHED = 64;
/** As near as this is as good as next to it. Frames: 128 KiB. */
const NEAR = 8;
/** What is fetched along at first, and at most. Frames: 128 KiB and 2 MiB. */
const FIRST = 8;
const MOST = 128;

/**
 * Notices that an object is read in the order in which it was written. What was written together, such as the files of an
 * archive, is often read together, in an order that is not that of the disk.
 */
export class ObjectOrder {
  /** Where the next read that misses begins if so; the first is the one unused for longest. */
  readonly #watched = new Map<LogObject, { readonly next: number; readonly window: number }>();

  /** After a miss: how many frames behind these `count` from `first` on are worth being fetched as well. */
  after(object: LogObject, first: number, count: number): number {
    const seen = this.#watched.get(object);
    const isNext = seen !== undefined && first + count > seen.next && first <= seen.next + NEAR;
    const frames = Math.ceil(object.blocks / FRAME_BLOCKS);
    const wanted = isNext ? Math.min(MOST, Math.max(FIRST, 2 * seen.window)) : 0;
    const window = Math.min(wanted, frames - first - count);
    this.#watched.delete(object);
    this.#watched.set(object, { next: first + count + window, window });
    if (this.#watched.size > WATCHED) this.#watched.delete(this.#watched.keys().next().value!);
    return window;
  }
}
