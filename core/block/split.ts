import type { IoFlags, IoVec, MaybePromise, ResolvedDevice } from '../api/device.ts';
import { copyIn, copyOut, iovLength, iovSlice } from '../util/iov.ts';
import { PassThrough } from './pass-through.ts';

const NO_LIMIT = Number.MAX_SAFE_INTEGER;
/** Most that is copied together at once when a request has more segments than the device takes. */
const GATHER_BYTES = 1024 * 1024;

/** Part of a request: bytes [start, start + length) of its iov, or one buffer that stands for them. */
interface Piece {
  readonly start: number;
  readonly length: number;
  readonly gathered: readonly [Uint8Array] | undefined;
}

/** Added when the device limits the size of a request: larger ones become several, all of which must succeed. */
export class Split extends PassThrough {
  constructor(next: ResolvedDevice) {
    super(next, { limits: { maxIo: NO_LIMIT, maxSegments: NO_LIMIT, maxDiscard: NO_LIMIT } });
  }

  static isNeededFor(device: ResolvedDevice): boolean {
    const { maxIo, maxSegments, maxDiscard } = device.limits;
    return maxIo < NO_LIMIT || maxSegments < NO_LIMIT || maxDiscard < NO_LIMIT;
  }

  override read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    if (this.#fits(iov)) return this.next.read(offset, iov, flags);
    return all(this.#pieces(iov), async ({ start, length, gathered }) => {
      await this.next.read(offset + start, gathered ?? iovSlice(iov, start, length), flags);
      if (gathered) copyIn(iov, gathered[0], start);
    });
  }

  override write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    if (this.#fits(iov)) return this.next.write(offset, iov, flags);
    return all(this.#pieces(iov), ({ start, length, gathered }) => {
      if (gathered) copyOut(iov, gathered[0], start);
      return this.next.write(offset + start, gathered ?? iovSlice(iov, start, length), flags);
    });
  }

  override discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    const { maxDiscard } = this.next.limits;
    return this.#ranges(offset, length, maxDiscard, (at, bytes) => this.next.discard(at, bytes, flags));
  }

  override writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    const { maxDiscard } = this.next.limits;
    return this.#ranges(offset, length, maxDiscard, (at, bytes) => this.next.writeZeroes(at, bytes, flags));
  }

  override prefetch(offset: number, length: number): MaybePromise<void> {
    return this.#ranges(offset, length, this.next.limits.maxIo, (at, bytes) => this.next.prefetch(at, bytes));
  }

  #fits(iov: IoVec): boolean {
    const { maxIo, maxSegments } = this.next.limits;
    return iov.length <= maxSegments && iovLength(iov) <= maxIo;
  }

  /** Cuts at whole blocks. Too many segments may have no block boundary where one is needed: gather those. */
  *#pieces(iov: IoVec): Generator<Piece> {
    const { maxIo, maxSegments, blockSize } = this.next.limits;
    const gather = iov.length > maxSegments;
    const most = gather ? Math.max(blockSize, Math.min(maxIo, GATHER_BYTES)) : maxIo;
    const step = most - (most % blockSize);
    const total = iovLength(iov);
    for (let start = 0; start < total; start += step) {
      const length = Math.min(step, total - start);
      yield { start, length, gathered: gather ? [new Uint8Array(length)] : undefined };
    }
  }

  #ranges(
    offset: number,
    length: number,
    most: number,
    call: (at: number, bytes: number) => MaybePromise<void>,
  ): MaybePromise<void> {
    if (length <= most) return call(offset, length);
    const step = most - (most % this.next.limits.blockSize);
    const starts = Array.from({ length: Math.ceil(length / step) }, (_, i) => i * step);
    return all(starts, (start) => call(offset + start, Math.min(step, length - start)));
  }
}

/** One after the other: a request that was too large for the store should not become a burst. */
async function all<T>(items: Iterable<T>, call: (item: T) => MaybePromise<void>): Promise<void> {
  for (const item of items) await call(item);
}
