import type { BlockDevice, IoFlags, IoVec, MaybePromise, Moment } from '../api/device.ts';
import { IoFlag } from '../api/device.ts';
import { BlockError } from '../api/errors.ts';
import { copyIn, copyOut, iovLength } from '../util/iov.ts';
import { randomFill } from '../util/random.ts';

/** What borrowed memory holds once it is taken back. */
const POISON = 0xdb;
/** Buffers that are watched for a while after they were taken back. */
const WATCHED = 64;

/**
 * Puts a device to the test while it is used: it works on copies of the caller's memory, which are poisoned when its
 * call settles, and both sides are held to the contract. `violated` is told in one sentence; it may throw, and the
 * call fails then.
 */
export function strictDevice(device: BlockDevice, violated: (what: string) => void): BlockDevice {
  const { size: firstSize, caps, limits } = device.info;
  const blockSize = limits?.blockSize ?? 512;
  const maxIo = limits?.maxIo ?? Number.MAX_SAFE_INTEGER;
  const maxSegments = limits?.maxSegments ?? Number.MAX_SAFE_INTEGER;
  const maxDiscard = limits?.maxDiscard ?? Number.MAX_SAFE_INTEGER;
  const watched: { readonly bytes: Uint8Array; readonly op: string }[] = [];
  let running = 0;
  let disposed = false;
  let largest = firstSize;

  const checkWatched = (count: number): void => {
    for (const { bytes, op } of watched.splice(0, count))
      if (!isAll(bytes, POISON))
        violated(`the device wrote into the memory of a ${op} after that had settled`);
  };
  const takeBack = (bytes: Uint8Array, op: string): void => {
    bytes.fill(POISON);
    if (op !== 'read') return;
    watched.push({ bytes, op });
    if (watched.length > WATCHED) checkWatched(1);
  };

  const checkInfo = (): void => {
    const { info } = device;
    if (info.size < largest) violated(`info.size fell from ${largest} to ${info.size}`);
    largest = info.size;
    if ((info.limits?.blockSize ?? 512) !== blockSize) violated('info.limits.blockSize changed');
  };
  const checkRange = (op: string, offset: number, length: number, most: number): void => {
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length <= 0)
      violated(`${op} was called with offset ${offset} and length ${length}`);
    if (offset % blockSize !== 0 || length % blockSize !== 0)
      violated(`${op} of ${offset}+${length} is not aligned to blocks of ${blockSize}`);
    if (offset + length > device.info.size) violated(`${op} of ${offset}+${length} is beyond the end`);
    if (length > most) violated(`${op} of ${length} bytes is longer than the limit, ${most}`);
  };
  const checkChange = (op: string, flags: IoFlags, allowed: IoFlags): void => {
    if (caps?.readOnly === true) violated(`${op} of a read-only device`);
    if ((flags & ~allowed) !== 0) violated(`${op} with flags 0x${flags.toString(16)}`);
    if ((flags & IoFlag.FUA) !== 0 && caps?.fua !== 'native')
      violated(`${op} with FUA, which was not declared`);
  };

  /** Runs one call of the device. `over` is told whether it did what it was asked to. */
  const call = (
    op: string,
    run: () => MaybePromise<unknown>,
    over: (ok: boolean) => void,
  ): MaybePromise<void> => {
    if (disposed) violated(`${op} after disposal`);
    if (running > 0 && caps?.concurrency !== 'parallel') violated(`${op} while another call is running`);
    running++;
    const settled = (): void => {
      running--;
      checkInfo();
    };
    const done = (value: unknown): void => {
      settled();
      if (op !== 'extents' && value !== undefined) violated(`${op} settled with a value`);
      over(true);
    };
    const failed = (error: unknown): never => {
      settled();
      if (!BlockError.is(error)) violated(`${op} failed with ${String(error)}, which is no BlockError`);
      over(false);
      throw error;
    };
    let pending: MaybePromise<unknown>;
    try {
      pending = run();
    } catch (error) {
      return failed(error);
    }
    if (pending instanceof Promise) return pending.then(done, failed);
    if (typeof (pending as PromiseLike<unknown> | undefined)?.then === 'function')
      return Promise.resolve(pending).then(done, failed);
    done(pending);
  };

  const checkIov = (op: string, iov: IoVec): number => {
    if (iov.length > maxSegments) violated(`${op} with ${iov.length} segments; the limit is ${maxSegments}`);
    return iovLength(iov);
  };

  const changes: Partial<BlockDevice> = {
    ...(device.write !== undefined && {
      write(offset: number, iov: IoVec, flags: IoFlags) {
        const length = checkIov('write', iov);
        checkRange('write', offset, length, maxIo);
        checkChange('write', flags, IoFlag.FUA);
        const { bytes, segments } = scratch(iov, length);
        copyOut(iov, bytes);
        return call(
          'write',
          () => device.write!(offset, segments, flags),
          () => takeBack(bytes, 'write'),
        );
      },
    }),
    ...(device.flush !== undefined && {
      flush: (flags: IoFlags) =>
        call(
          'flush',
          () => device.flush!(flags),
          () => {},
        ),
    }),
    ...(device.discard !== undefined && {
      discard(offset: number, length: number, flags: IoFlags) {
        checkRange('discard', offset, length, maxDiscard);
        checkChange('discard', flags, 0);
        return call(
          'discard',
          () => device.discard!(offset, length, flags),
          () => {},
        );
      },
    }),
    ...(device.writeZeroes !== undefined && {
      writeZeroes(offset: number, length: number, flags: IoFlags) {
        checkRange('writeZeroes', offset, length, maxDiscard);
        checkChange('writeZeroes', flags, IoFlag.FUA | IoFlag.MAY_UNMAP | IoFlag.NO_FALLBACK);
        return call(
          'writeZeroes',
          () => device.writeZeroes!(offset, length, flags),
          () => {},
        );
      },
    }),
    ...(device.extents !== undefined && {
      async extents(offset: number, length: number) {
        checkRange('extents', offset, length, Number.MAX_SAFE_INTEGER);
        const found = await device.extents!(offset, length);
        let at = offset;
        for (const extent of found) {
          if (extent.offset !== at || extent.length <= 0)
            violated(`extents has ${extent.offset}+${extent.length} where ${at} is next`);
          at = extent.offset + extent.length;
        }
        if (at !== offset + length) violated(`extents of ${offset}+${length} ends at ${at}`);
        return found;
      },
    }),
    ...(device.prefetch !== undefined && {
      prefetch(offset: number, length: number) {
        checkRange('prefetch', offset, length, maxIo);
        return call(
          'prefetch',
          () => device.prefetch!(offset, length),
          () => {},
        );
      },
    }),
    ...(device.resize !== undefined && { resize: (size?: number) => device.resize!(size) }),
    ...(device.snapshot !== undefined && { snapshot: (name: string) => device.snapshot!(name) }),
    ...(device.snapshotAt !== undefined && {
      snapshotAt: (name: string, moment: Moment) => device.snapshotAt!(name, moment),
    }),
    ...(device.status !== undefined && { status: () => device.status!() }),
  };

  return {
    get info() {
      return device.info;
    },
    read(offset, iov, flags) {
      const length = checkIov('read', iov);
      checkRange('read', offset, length, maxIo);
      const { bytes, segments } = scratch(iov, length);
      // What is not filled is recognized: nobody has this on a disk.
      const canary = randomFill(new Uint8Array(16));
      for (let at = 0; at < length; at += 16) bytes.set(canary.subarray(0, Math.min(16, length - at)), at);
      return call(
        'read',
        () => device.read(offset, segments, flags),
        (ok) => {
          if (ok) {
            for (let at = 0; at + 16 <= length; at += 16)
              if (isAt(canary, bytes, at)) {
                violated(`a read of ${offset}+${length} left byte ${at} and others as they were`);
                break;
              }
            copyIn(iov, bytes);
          }
          takeBack(bytes, 'read');
        },
      );
    },
    ...changes,
    async [Symbol.asyncDispose]() {
      if (disposed) violated('disposed of twice');
      if (running > 0) violated('disposed of while calls are running');
      await device[Symbol.asyncDispose]();
      disposed = true;
      checkWatched(watched.length);
    },
  };
}

function isAll(bytes: Uint8Array, value: number): boolean {
  for (const byte of bytes) if (byte !== value) return false;
  return true;
}

function isAt(wanted: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

/** Memory of its own, cut as `iov` is. */
function scratch(iov: IoVec, length: number): { bytes: Uint8Array; segments: IoVec } {
  const bytes = new Uint8Array(length);
  let at = 0;
  const segments = iov.map((segment) => {
    at += segment.length;
    return bytes.subarray(at - segment.length, at);
  });
  return { bytes, segments };
}
