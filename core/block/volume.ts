import {
  type Extent,
  IoFlag,
  type IoFlags,
  type IoVec,
  type MaybePromise,
  type ResolvedCaps,
  type ResolvedDevice,
  type ResolvedLimits,
  type ThreadVolume,
  type Volume,
} from '../api/device.ts';
import { BlockError, GatewayError } from '../api/errors.ts';
import type { Logger } from '../api/logger.ts';
import { iovLength } from '../util/iov.ts';

// hot path: see ARCHITECTURE.md "Data plane"

/**
 * What a frontend calls: validates every request, counts what is in flight, drains. Layers and backends below see
 * valid requests only. A synchronous call allocates nothing, an asynchronous one a derived promise.
 */
export class DiskVolume implements Volume {
  readonly name: string;
  readonly caps: ResolvedCaps;
  readonly limits: ResolvedLimits;
  readonly perThread: ThreadVolume | undefined;
  readonly content: string | undefined;
  readonly #device: ResolvedDevice;
  /** Block sizes are powers of two. */
  readonly #blockMask: number;
  readonly #logger: Logger;
  #size: number;
  #inFlight = 0;
  #closed = false;
  #foreignErrorLogged = false;
  readonly #drained: (() => void)[] = [];

  constructor(
    name: string,
    device: ResolvedDevice,
    logger: Logger,
    {
      perThread,
      content,
    }: { readonly perThread?: ThreadVolume | undefined; readonly content?: string | undefined } = {},
  ) {
    this.name = name;
    this.#device = device;
    this.#logger = logger;
    this.#size = device.size;
    this.caps = device.caps;
    this.limits = device.limits;
    this.#blockMask = device.limits.blockSize - 1;
    this.perThread = perThread;
    this.content = content;
  }

  /** Kept here: each request is compared with it, and asking the device goes through every layer. */
  get size(): number {
    return this.#size;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    const length = iovLength(iov);
    this.#checkRange(offset, length);
    if (length === 0) return;
    this.#inFlight++;
    let pending: MaybePromise<void>;
    try {
      pending = this.#device.read(offset, iov, flags);
    } catch (error) {
      throw this.#fail(error);
    }
    return this.#settle(pending);
  }

  write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    const length = iovLength(iov);
    this.#checkChange(offset, length, flags, IoFlag.FUA);
    if (length === 0) return;
    this.#inFlight++;
    let pending: MaybePromise<void>;
    try {
      pending = this.#device.write(offset, iov, flags);
    } catch (error) {
      throw this.#fail(error);
    }
    return this.#settle(pending);
  }

  flush(flags: IoFlags): MaybePromise<void> {
    if (this.#closed) throw closedError();
    this.#inFlight++;
    let pending: MaybePromise<void>;
    try {
      pending = this.#device.flush(flags);
    } catch (error) {
      throw this.#fail(error);
    }
    return this.#settle(pending);
  }

  discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    this.#checkChange(offset, length, flags, 0);
    if (length === 0) return;
    this.#inFlight++;
    let pending: MaybePromise<void>;
    try {
      pending = this.#device.discard(offset, length, flags);
    } catch (error) {
      throw this.#fail(error);
    }
    return this.#settle(pending);
  }

  writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    this.#checkChange(offset, length, flags, IoFlag.FUA | IoFlag.MAY_UNMAP | IoFlag.NO_FALLBACK);
    if (length === 0) return;
    this.#inFlight++;
    let pending: MaybePromise<void>;
    try {
      pending = this.#device.writeZeroes(offset, length, flags);
    } catch (error) {
      throw this.#fail(error);
    }
    return this.#settle(pending);
  }

  extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    this.#checkRange(offset, length);
    return length === 0 ? [] : this.#device.extents(offset, length);
  }

  prefetch(offset: number, length: number): MaybePromise<void> {
    this.#checkRange(offset, length);
    // A hint that nobody can use waits for nothing either.
    if (length === 0 || !this.caps.prefetch) return;
    this.#inFlight++;
    let pending: MaybePromise<void>;
    try {
      pending = this.#device.prefetch(offset, length);
    } catch (error) {
      throw this.#fail(error);
    }
    return this.#settle(pending);
  }

  drain(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  /** Takes over what the device has grown to. A size that makes no disk, or a smaller one, throws `GatewayError`. */
  grow(): void {
    const { size } = this.#device;
    if (!Number.isSafeInteger(size) || size < this.#size || size % this.limits.blockSize !== 0) {
      throw new GatewayError('disk.bad-size', `Disk "${this.name}" cannot become ${size} bytes large.`, {
        why: `It has ${this.#size} bytes in blocks of ${this.limits.blockSize}, and only grows.`,
        fix: 'Give the store a larger size that consists of whole blocks.',
      });
    }
    this.#size = size;
  }

  /** From now on every request fails with ESHUTDOWN. */
  close(): void {
    this.#closed = true;
  }

  /** What is wrong is found out elsewhere: small functions are inlined. */
  #checkRange(offset: number, length: number): void {
    if (this.#closed || !this.#isValidRange(offset, length)) throw this.#rangeError(offset, length);
  }

  #isValidRange(offset: number, length: number): boolean {
    // The mask is exact for the low bits of any safe integer; a remainder would take ten times as long.
    return (
      ((offset | length) & this.#blockMask) === 0 &&
      offset >= 0 &&
      length >= 0 &&
      offset + length <= this.#size &&
      Number.isInteger(offset) &&
      Number.isInteger(length)
    );
  }

  #rangeError(offset: number, length: number): BlockError {
    if (this.#closed) return closedError();
    const { blockSize } = this.limits;
    if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(length) || length < 0)
      return new BlockError('EINVAL', `not a range: offset ${offset}, length ${length}`);
    const what =
      offset % blockSize !== 0 || length % blockSize !== 0
        ? `offset ${offset} or length ${length} is not a multiple of ${blockSize}`
        : `range ${offset}+${length} reaches beyond the end of the disk (${this.#size})`;
    return new BlockError('EINVAL', what);
  }

  #checkChange(offset: number, length: number, flags: IoFlags, allowed: IoFlags): void {
    if (!this.caps.write) throw new BlockError('EROFS', 'the disk is read-only');
    if ((flags & ~allowed) !== 0) throw new BlockError('EINVAL', `unknown flags 0x${flags.toString(16)}`);
    this.#checkRange(offset, length);
  }

  #settle(pending: MaybePromise<void>): MaybePromise<void> {
    if (pending === undefined) {
      this.#leave();
      return undefined;
    }
    return pending.then(this.#leave, this.#reject);
  }

  readonly #leave = (): void => {
    this.#inFlight--;
    if (this.#inFlight > 0 || this.#drained.length === 0) return;
    for (const resolve of this.#drained.splice(0)) resolve();
  };

  readonly #reject = (error: unknown): never => {
    throw this.#fail(error);
  };

  /** A backend throws `BlockError`; anything else is its bug: logged once with the stack, EIO for the guest. */
  #fail(error: unknown): BlockError {
    this.#leave();
    if (BlockError.is(error)) return error;
    if (!this.#foreignErrorLogged) {
      this.#foreignErrorLogged = true;
      this.#logger.error('a backend or filter failed with an error of its own; the guest sees EIO', {
        disk: this.name,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    }
    return new BlockError('EIO', 'internal error of a backend or filter', { cause: error });
  }
}

function closedError(): BlockError {
  return new BlockError('ESHUTDOWN', 'the disk is being stopped');
}
