import type { IoVec } from '../api/device.ts';
import { Errno, SystemError } from './errno.ts';
import { addressOf } from './memory-map.ts';
import { errno, libc } from './native.ts';

/** What O_DIRECT demands, in bytes; powers of two. */
export interface DirectAlignment {
  /** Of the segments' addresses. */
  readonly memory: number;
  /** Of the file offset and of every segment's length. */
  readonly offset: number;
}

const statx = libc.func(
  'int statx(int directory, const char *path, int flags, unsigned int mask, int64_t buffer)',
);
/** linux/stat.h and fcntl.h */
const AT_EMPTY_PATH = 0x1000;
const STATX_DIOALIGN = 0x2000;
const SIZEOF_STATX = 256;

/**
 * What O_DIRECT demands for this file. Undefined where the file system does not say: then only page alignment is safe
 * to assume. Throws `SystemError`, and EINVAL when it says that it has no direct I/O.
 */
export function directAlignment(fd: number): DirectAlignment | undefined {
  const buffer = new Uint8Array(SIZEOF_STATX);
  // SAFETY: the kernel writes one struct statx, 256 bytes, at `buffer` within the call.
  const result = statx(fd, '', AT_EMPTY_PATH, STATX_DIOALIGN, addressOf(buffer)) as number;
  if (result !== 0) throw new SystemError('statx', errno());
  const fields = new DataView(buffer.buffer);
  if ((fields.getUint32(0, true) & STATX_DIOALIGN) === 0) return undefined;
  const memory = fields.getUint32(152, true);
  const offset = fields.getUint32(156, true);
  if (memory === 0 || offset === 0) throw new SystemError('statx', Errno.EINVAL);
  return { memory, offset };
}

/** True when `iov` can go to the kernel as it is. */
export function isAligned(iov: IoVec, alignment: DirectAlignment): boolean {
  for (const segment of iov) {
    if (segment.length % alignment.offset !== 0 || addressOf(segment) % alignment.memory !== 0) return false;
  }
  return true;
}

/** A buffer that satisfies `alignment`, of a length that already does. */
export function alignedBuffer(length: number, alignment: DirectAlignment): Uint8Array {
  const bytes = new Uint8Array(length + alignment.memory);
  const excess = addressOf(bytes) % alignment.memory;
  return bytes.subarray(excess === 0 ? 0 : alignment.memory - excess).subarray(0, length);
}
