import type { Extent, IoFlags, IoVec, MaybePromise, ResolvedDevice } from '../api/device.ts';
import { copyIn, iovLength, iovSlice } from '../util/iov.ts';
import { PassThrough } from './pass-through.ts';
import { RangeLock } from './range-lock.ts';

/**
 * Added when the device's block is larger than the one offered to the guest: reads are widened, writes of parts of a
 * block read the rest first. Writes that touch a common block exclude each other, or one would undo the other.
 */
export class Align extends PassThrough {
  readonly #block: number;
  readonly #lock = new RangeLock();

  constructor(next: ResolvedDevice, blockSize: number) {
    super(next, { limits: { blockSize, physicalBlockSize: next.limits.blockSize } });
    this.#block = next.limits.blockSize;
  }

  /** A store may grow by less than a block of its own. */
  override get size(): number {
    return this.#down(this.next.size);
  }

  override read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    const length = iovLength(iov);
    return this.#isAligned(offset, length)
      ? this.next.read(offset, iov, flags)
      : this.#readWide(offset, iov, flags);
  }

  override write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#exclusively(offset, iovLength(iov), (length) =>
      this.#isAligned(offset, length)
        ? this.next.write(offset, iov, flags)
        : this.#modify(offset, iov, flags),
    );
  }

  /** Discard promises nothing: what is not a whole block stays. */
  override discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    const start = this.#up(offset);
    const end = this.#down(offset + length);
    if (end <= start) return;
    return this.#exclusively(start, end - start, () => this.next.discard(start, end - start, flags));
  }

  override writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.#exclusively(offset, length, async () => {
      const start = Math.min(this.#up(offset), offset + length);
      const end = Math.max(this.#down(offset + length), start);
      if (start > offset) await this.#modify(offset, [new Uint8Array(start - offset)], 0);
      if (end > start) await this.next.writeZeroes(start, end - start, flags);
      if (offset + length > end) await this.#modify(end, [new Uint8Array(offset + length - end)], 0);
    });
  }

  override async extents(offset: number, length: number): Promise<readonly Extent[]> {
    const start = this.#down(offset);
    const found = await this.next.extents(start, this.#up(offset + length) - start);
    return found.flatMap((extent) => {
      const from = Math.max(extent.offset, offset);
      const to = Math.min(extent.offset + extent.length, offset + length);
      return to > from ? [{ ...extent, offset: from, length: to - from }] : [];
    });
  }

  override prefetch(offset: number, length: number): MaybePromise<void> {
    const start = this.#down(offset);
    return this.next.prefetch(start, this.#up(offset + length) - start);
  }

  async #readWide(offset: number, iov: IoVec, flags: IoFlags): Promise<void> {
    const length = iovLength(iov);
    const start = this.#down(offset);
    const wide = new Uint8Array(this.#up(offset + length) - start);
    await this.next.read(start, [wide], flags);
    copyIn(iov, wide.subarray(offset - start, offset - start + length));
  }

  async #modify(offset: number, iov: IoVec, flags: IoFlags): Promise<void> {
    const length = iovLength(iov);
    const start = this.#down(offset);
    const end = this.#up(offset + length);
    const head = new Uint8Array(offset - start);
    const tail = new Uint8Array(end - offset - length);
    // Only the first and the last block can be partial; what lies between is written as it came.
    if (head.length > 0) await this.#readPart(start, head);
    if (tail.length > 0) await this.#readPart(offset + length, tail);
    await this.next.write(
      start,
      [head, ...iovSlice(iov, 0, length), tail].filter((part) => part.length > 0),
      flags,
    );
  }

  async #readPart(offset: number, target: Uint8Array): Promise<void> {
    const block = new Uint8Array(this.#block);
    const start = this.#down(offset);
    await this.next.read(start, [block], 0);
    target.set(block.subarray(offset - start, offset - start + target.length));
  }

  async #exclusively(
    offset: number,
    length: number,
    call: (length: number) => MaybePromise<void>,
  ): Promise<void> {
    const start = this.#down(offset);
    using _held = await this.#lock.acquire(start, this.#up(offset + length) - start);
    await call(length);
  }

  #isAligned(offset: number, length: number): boolean {
    return offset % this.#block === 0 && length % this.#block === 0;
  }

  #down(value: number): number {
    return value - (value % this.#block);
  }

  #up(value: number): number {
    return this.#down(value + this.#block - 1);
  }
}
