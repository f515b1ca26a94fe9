import {
  type BlockDevice,
  type Extent,
  IoFlag,
  type IoFlags,
  type IoVec,
  type MaybePromise,
  type ResolvedCaps,
  type ResolvedDevice,
  type ResolvedLimits,
} from '../api/device.ts';
import { BlockError, GatewayError } from '../api/errors.ts';

// hot path: see ARCHITECTURE.md "Data plane"

const MAX_SIZE = 2 ** 53 - 512;
/** One page of zeros serves every emulated writeZeroes of the process. */
const ZERO_PAGE = new Uint8Array(64 * 1024);
/** Most that one emulated writeZeroes hands to `write` at once, so that nothing else waits long behind it. */
const ZERO_CHUNK = 1024 * 1024;

/**
 * Turns what a backend returned into a device with every method present. Runs once per disk: nothing on the hot path
 * asks "do you support …?". Throws `GatewayError` `backend.bad-device` when the device breaks the contract.
 */
export function resolve(device: BlockDevice, name: string): ResolvedDevice {
  const limits = resolveLimits(device, name);
  const readOnly = device.info.caps?.readOnly === true || device.write === undefined;
  const flush = !readOnly && device.flush !== undefined;
  const caps: ResolvedCaps = {
    write: !readOnly,
    flush,
    discard: !readOnly && device.discard !== undefined,
    writeZeroes: readOnly ? 'none' : device.writeZeroes === undefined ? 'emulate' : 'native',
    fua: readOnly ? 'none' : device.info.caps?.fua === 'native' ? 'native' : 'emulate',
    extents: device.extents !== undefined,
    prefetch: device.prefetch !== undefined,
    concurrency: device.info.caps?.concurrency ?? 'serial',
    volatile: device.info.caps?.volatile ?? false,
    writeCache: flush ? (device.info.caps?.writeCache ?? 'none') : 'none',
  };
  return new Resolved(device, Object.freeze(caps), limits);
}

function resolveLimits(device: BlockDevice, name: string): ResolvedLimits {
  const { size, limits = {} } = device.info;
  const blockSize = limits.blockSize ?? 512;
  const bad = (what: string): never => {
    throw new GatewayError(
      'backend.bad-device',
      `Backend "${name}" returned a device that breaks the contract.`,
      {
        why: what,
        fix: 'This is a mistake in the backend; report it to its author.',
      },
    );
  };
  if (!isPowerOfTwo(blockSize) || blockSize < 512 || blockSize > 65536) {
    bad(`limits.blockSize is ${blockSize}; it has to be a power of two from 512 to 65536.`);
  }
  if (!Number.isSafeInteger(size) || size <= 0 || size > MAX_SIZE || size % blockSize !== 0) {
    bad(
      `info.size is ${size}; it has to be a positive multiple of the block size (${blockSize}) below 2^53.`,
    );
  }
  const resolved = {
    blockSize,
    physicalBlockSize: limits.physicalBlockSize ?? blockSize,
    optimalIoSize: limits.optimalIoSize ?? 0,
    maxIo: limits.maxIo ?? Number.MAX_SAFE_INTEGER,
    maxSegments: limits.maxSegments ?? Number.MAX_SAFE_INTEGER,
    maxDiscard: limits.maxDiscard ?? Number.MAX_SAFE_INTEGER,
    discardGranularity: limits.discardGranularity ?? blockSize,
  };
  for (const [key, value] of Object.entries(resolved)) {
    if (!Number.isSafeInteger(value) || value < (key === 'optimalIoSize' ? 0 : 1))
      bad(`limits.${key} is ${value}.`);
  }
  if (resolved.maxIo < blockSize) bad(`limits.maxIo (${resolved.maxIo}) is less than a block.`);
  if (resolved.maxDiscard < blockSize)
    bad(`limits.maxDiscard (${resolved.maxDiscard}) is less than a block.`);
  return Object.freeze(resolved);
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Math.log2(value) % 1 === 0;
}

class Resolved implements ResolvedDevice {
  readonly #device: BlockDevice;
  readonly caps: ResolvedCaps;
  readonly limits: ResolvedLimits;

  constructor(device: BlockDevice, caps: ResolvedCaps, limits: ResolvedLimits) {
    this.#device = device;
    this.caps = caps;
    this.limits = limits;
  }

  get size(): number {
    return this.#device.info.size;
  }

  read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#device.read(offset, iov, flags);
  }

  write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    if (!this.caps.write) throw readOnlyError();
    if ((flags & IoFlag.FUA) === 0 || this.caps.fua === 'native')
      return this.#device.write!(offset, iov, flags);
    return after(this.#device.write!(offset, iov, flags & ~IoFlag.FUA), () => this.flush(0));
  }

  flush(flags: IoFlags): MaybePromise<void> {
    // Without a flush of its own, each write of the device was durable when it settled.
    return this.caps.flush ? this.#device.flush!(flags) : undefined;
  }

  discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    if (!this.caps.write) throw readOnlyError();
    if (!this.caps.discard) throw new BlockError('ENOTSUP', 'the device cannot discard');
    return this.#device.discard!(offset, length, flags);
  }

  writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    if (!this.caps.write) throw readOnlyError();
    const fua = (flags & IoFlag.FUA) !== 0 && this.caps.fua !== 'native';
    const done =
      this.caps.writeZeroes === 'native'
        ? this.#device.writeZeroes!(offset, length, fua ? flags & ~IoFlag.FUA : flags)
        : this.#writeOutZeros(offset, length, flags);
    return fua ? after(done, () => this.flush(0)) : done;
  }

  extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    return this.caps.extents ? this.#device.extents!(offset, length) : [{ offset, length, kind: 'data' }];
  }

  prefetch(offset: number, length: number): MaybePromise<void> {
    // A hint that nobody can use is one that was taken.
    return this.caps.prefetch ? this.#device.prefetch!(offset, length) : undefined;
  }

  async #writeOutZeros(offset: number, length: number, flags: IoFlags): Promise<void> {
    if (flags & IoFlag.NO_FALLBACK)
      throw new BlockError('ENOTSUP', 'the device has no fast way to write zeros');
    const { maxIo, maxSegments, blockSize } = this.limits;
    const bytes = Math.min(maxIo, maxSegments * ZERO_PAGE.length, ZERO_CHUNK);
    const chunk = bytes - (bytes % blockSize);
    for (let done = 0; done < length; done += chunk) {
      await this.#device.write!(offset + done, zeros(Math.min(chunk, length - done)), 0);
    }
  }
}

function zeros(length: number): IoVec {
  const iov: Uint8Array[] = [];
  for (let left = length; left > 0; left -= ZERO_PAGE.length) {
    iov.push(left >= ZERO_PAGE.length ? ZERO_PAGE : ZERO_PAGE.subarray(0, left));
  }
  return iov;
}

function after(first: MaybePromise<void>, then: () => MaybePromise<void>): MaybePromise<void> {
  return first === undefined ? then() : first.then(then);
}

function readOnlyError(): BlockError {
  return new BlockError('EROFS', 'the disk is read-only');
}
