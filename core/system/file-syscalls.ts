import type { IoVec } from '../api/device.ts';
import { Semaphore } from '../util/semaphore.ts';
import { IOV_MAX, IovecArray } from './iovec.ts';
import { addressOf } from './memory-map.ts';
import { errno, libc } from './native.ts';

/**
 * The system calls on files that Node does not offer, or not cheaply. Results are those of the kernel itself: zero or
 * more on success, a negated errno on failure. An interface, so that tests can make a call fail.
 */
export interface FileSyscalls {
  /**
   * preadv2(2) into `iov` from byte `skip` on. Blocks unless `flags` has `RWF_NOWAIT`. Bytes read; 0 at the end.
   * Of these calls, those for a single segment do without the array of them, which the kernel is slow to take over.
   */
  preadv(fd: number, iov: IoVec, skip: number, offset: number, flags: number): number;
  /** pwritev(2) of `iov` from byte `skip` on. Blocks. Bytes written. */
  pwritev(fd: number, iov: IoVec, skip: number, offset: number): number;
  /** lseek(2) with `SEEK_DATA` or `SEEK_HOLE`; the offset found. */
  lseek(fd: number, offset: number, whence: number): number;
  /** fallocate(2), off this thread. */
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<number>;
  /** ioctl(BLKDISCARD), off this thread. */
  discardBlocks(fd: number, offset: number, length: number): Promise<number>;
}

/** linux/fs.h: fail with EAGAIN rather than wait for the disk. */
export const RWF_NOWAIT = 8;
/** linux/falloc.h */
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_ZERO_RANGE = 16;
/** unistd.h */
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

const pread = libc.func('int64_t pread(int fd, int64_t buffer, int64_t length, int64_t offset)');
const pwrite = libc.func('int64_t pwrite(int fd, int64_t buffer, int64_t length, int64_t offset)');
const preadv2 = libc.func('int64_t preadv2(int fd, int64_t iov, int count, int64_t offset, int flags)');
const pwritev = libc.func('int64_t pwritev(int fd, int64_t iov, int count, int64_t offset)');
const lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)');
const fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
/** The third argument of ioctl(2) is declared plainly: Linux's calling conventions pass it like a variadic one. */
const ioctl = libc.func('int ioctl(int fd, uint64_t request, int64_t argument)');

/** linux/fs.h, _IO(0x12, 119). Its argument is two u64: start and length in bytes. */
const BLKDISCARD = 0x1277;

/** Calls off this thread run on libuv's pool, which file reads and name look-ups share: leave some of it to them. */
const offThread = new Semaphore(2);

/** Used within one synchronous call at a time. */
const scratch = IovecArray.block(1, IOV_MAX)[0]!;

export const fileSyscalls: FileSyscalls = {
  preadv(fd, iov, skip, offset, flags) {
    if (iov.length === 1 && skip === 0 && flags === 0) {
      const segment = iov[0]!;
      // SAFETY: the caller holds the segment; the call is over when it returns.
      const result = pread(fd, addressOf(segment), segment.length, offset) as number;
      return result < 0 ? -errno() : result;
    }
    const count = scratch.fill(iov, skip);
    // SAFETY: the iovecs describe memory of `iov`, which the caller holds; the call is over when it returns.
    const result = preadv2(fd, scratch.address, count, offset, flags) as number;
    return result < 0 ? -errno() : result;
  },

  pwritev(fd, iov, skip, offset) {
    if (iov.length === 1 && skip === 0) {
      const segment = iov[0]!;
      // SAFETY: as for pread.
      const result = pwrite(fd, addressOf(segment), segment.length, offset) as number;
      return result < 0 ? -errno() : result;
    }
    const count = scratch.fill(iov, skip);
    // SAFETY: as for preadv; the kernel only reads from the segments.
    const result = pwritev(fd, scratch.address, count, offset) as number;
    return result < 0 ? -errno() : result;
  },

  lseek(fd, offset, whence) {
    // SAFETY: no pointers.
    const result = lseek(fd, offset, whence) as number;
    return result < 0 ? -errno() : result;
  },

  async fallocate(fd, mode, offset, length) {
    using _turn = await offThread.acquire();
    // SAFETY: no pointers; the caller keeps the fd open until the promise settles.
    return callOffThread((done) => fallocate.async(fd, mode, offset, length, done));
  },

  async discardBlocks(fd, offset, length) {
    using _turn = await offThread.acquire();
    const range = new BigUint64Array([BigInt(offset), BigInt(length)]);
    const address = addressOf(new Uint8Array(range.buffer));
    // SAFETY: `range` is referenced by the closure below until the call is back.
    const result = await callOffThread((done) => ioctl.async(fd, BLKDISCARD, address, done));
    return range.length > 0 ? result : 0;
  },
};

type Done = (error: unknown, result: number) => void;

/** koffi makes errno in the completion callback that of the call, whichever thread made it. */
function callOffThread(start: (done: Done) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    start((error, result) => {
      if (error) reject(error as Error);
      else resolve(result < 0 ? -errno() : result);
    });
  });
}
