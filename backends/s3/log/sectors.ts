// hot path: see ARCHITECTURE.md "Data plane"

import {
  copyIn,
  copyOut,
  type IoVec,
  iovLength,
  iovSlice,
  type MaybePromise,
  settleAll,
} from '../../../core/plugin.ts';
import type { Appender } from './appender.ts';
import { BLOCK } from './object-header.ts';
import type { LogReader } from './reader.ts';

/** Blocks that a write under way has for itself. */
interface Held {
  readonly first: number;
  readonly end: number;
  readonly over: Promise<unknown>;
}

/**
 * Requests of any number of bytes on a log of blocks of 4 KiB. A write of a part of a block takes the rest from where it
 * is, mostly from memory; meanwhile nobody else writes to that block, or one of the two would be undone.
 */
export class Sectors {
  readonly #reader: LogReader;
  readonly #appender: Appender | undefined;
  readonly #held = new Set<Held>();

  /** @param appender absent on a read-only disk. */
  constructor(reader: LogReader, appender: Appender | undefined) {
    this.#reader = reader;
    this.#appender = appender;
  }

  /** `diskBlocks`: nothing behind is read ahead. */
  read(offset: number, iov: IoVec, diskBlocks: number): MaybePromise<void> {
    const length = iovLength(iov);
    const skip = offset % BLOCK;
    if (skip === 0 && length % BLOCK === 0)
      return this.#reader.read(offset / BLOCK, length / BLOCK, iov, diskBlocks);
    const first = Math.floor(offset / BLOCK);
    const wide = Buffer.allocUnsafe((Math.ceil((offset + length) / BLOCK) - first) * BLOCK);
    const take = (): void => copyIn(iov, wide.subarray(skip, skip + length));
    const reading = this.#reader.read(first, wide.length / BLOCK, [wide], diskBlocks);
    if (reading !== undefined) return reading.then(take);
    take();
    return undefined;
  }

  write(offset: number, iov: IoVec): MaybePromise<void> {
    const length = iovLength(iov);
    const first = Math.floor(offset / BLOCK);
    const end = Math.ceil((offset + length) / BLOCK);
    const before = this.#inTheWay(first, end);
    if (before !== undefined) return before.then(() => this.write(offset, iov));
    const isWhole = offset % BLOCK === 0 && length % BLOCK === 0;
    const writing = isWhole
      ? this.#appender!.write(first, end - first, iov, 0)
      : this.#writeParts(offset, length, iov, first, end);
    if (writing !== undefined) this.#hold(first, end, writing);
    return writing;
  }

  /** Whole blocks within the range; discarding promises nothing of the rest. */
  discard(offset: number, length: number): MaybePromise<void> {
    const first = Math.ceil(offset / BLOCK);
    const end = Math.floor((offset + length) / BLOCK);
    return first < end ? this.#zero(first, end) : undefined;
  }

  writeZeroes(offset: number, length: number): MaybePromise<void> {
    const stop = offset + length;
    const first = Math.ceil(offset / BLOCK);
    const end = Math.floor(stop / BLOCK);
    if (offset % BLOCK === 0 && stop % BLOCK === 0) return this.#zero(first, end);
    if (first >= end) {
      const middle = Math.min(stop, first * BLOCK);
      return settleAll([this.#writeZeros(offset, middle), this.#writeZeros(middle, stop)]);
    }
    return settleAll([
      this.#writeZeros(offset, first * BLOCK),
      this.#zero(first, end),
      this.#writeZeros(end * BLOCK, stop),
    ]);
  }

  #writeZeros(from: number, to: number): MaybePromise<void> {
    return from < to ? this.write(from, [Buffer.alloc(to - from)]) : undefined;
  }

  #zero(first: number, end: number): MaybePromise<void> {
    const before = this.#inTheWay(first, end);
    if (before !== undefined) return before.then(() => this.#zero(first, end));
    const writing = this.#appender!.zero(first, end - first);
    if (writing !== undefined) this.#hold(first, end, writing);
    return writing;
  }

  /** The first and the last block are made whole with what the disk holds. */
  #writeParts(offset: number, length: number, iov: IoVec, first: number, end: number): MaybePromise<void> {
    const skip = offset - first * BLOCK;
    const rest = end * BLOCK - offset - length;
    const head = skip > 0 ? Buffer.allocUnsafe(BLOCK) : undefined;
    // The same block, where the write lies in one.
    const tail = rest > 0 && (head === undefined || end - first > 1) ? Buffer.allocUnsafe(BLOCK) : undefined;
    const reading = [
      head && this.#reader.read(first, 1, [head], 0),
      tail && this.#reader.read(end - 1, 1, [tail], 0),
    ].filter((promise) => promise !== undefined);
    const write = (): MaybePromise<void> => {
      const parts: Uint8Array[] = [];
      let [from, to] = [0, length];
      if (head !== undefined) {
        from = Math.min(length, BLOCK - skip);
        copyOut(iov, head.subarray(skip, skip + from), 0);
        parts.push(head);
      }
      if (tail !== undefined) {
        to = length - (BLOCK - rest);
        copyOut(iov, tail.subarray(0, BLOCK - rest), to);
      }
      parts.push(...iovSlice(iov, from, to - from));
      if (tail !== undefined) parts.push(tail);
      return this.#appender!.write(first, end - first, parts, 0);
    };
    return reading.length === 0 ? write() : Promise.all(reading).then(write);
  }

  #inTheWay(first: number, end: number): Promise<void> | undefined {
    for (const held of this.#held)
      if (held.first < end && first < held.end)
        return held.over.then(
          () => undefined,
          () => undefined,
        );
    return undefined;
  }

  #hold(first: number, end: number, over: Promise<unknown>): void {
    const held = { first, end, over };
    this.#held.add(held);
    const release = (): void => void this.#held.delete(held);
    over.then(release, release);
  }
}
