import { addressOf } from './memory-map.ts';
import { errno, libc } from './native.ts';

const getrlimit = libc.func('int getrlimit(int resource, int64_t limits)');
const setrlimit = libc.func('int setrlimit(int resource, int64_t limits)');
const memfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)');
const ftruncate = libc.func('int ftruncate(int fd, int64_t length)');
const fcntl = libc.func('int fcntl(int fd, int command, int64_t argument)');
const close = libc.func('int close(int fd)');

const RLIMIT_MEMLOCK = 8;
/** MFD_CLOEXEC | MFD_ALLOW_SEALING */
const MEMFD_FLAGS = 3;
const F_ADD_SEALS = 1033;
/** F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW */
const FIXED_SIZE = 7;

/**
 * How many bytes this process may lock or pin, which holds for root as well. Raises the limit to `bytes` where it is lower
 * and the process may.
 */
export function raiseMemoryLock(bytes: number): number {
  /** `struct rlimit`: what counts, and how far anybody may raise that. */
  const limits = new BigUint64Array(2);
  const wanted = BigInt(bytes);
  // SAFETY: the struct is referenced by this frame until the call returns.
  if ((getrlimit(RLIMIT_MEMLOCK, addressOf(new Uint8Array(limits.buffer))) as number) !== 0) return 0;
  if (limits[0]! >= wanted) return Number(limits[0]);
  const raised = new BigUint64Array([wanted, limits[1]! > wanted ? limits[1]! : wanted]);
  // SAFETY: as above.
  const result = setrlimit(RLIMIT_MEMLOCK, addressOf(new Uint8Array(raised.buffer))) as number;
  return result === 0 ? bytes : Number(limits[0]);
}

/** A file in memory of `length` bytes, for good; or minus the errno. */
export function memfd(length: number): number {
  // SAFETY: koffi passes a copy of the name that lives for the call.
  const fd = memfdCreate('blockgate', MEMFD_FLAGS) as number;
  if (fd < 0) return -errno();
  // SAFETY: no pointer.
  if (ftruncate(fd, length) === 0 && fcntl(fd, F_ADD_SEALS, FIXED_SIZE) === 0) return fd;
  const failure = errno();
  // SAFETY: nobody else knows the fd.
  close(fd);
  return -failure;
}
