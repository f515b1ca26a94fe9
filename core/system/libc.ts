import { memfd, raiseMemoryLock } from './memory-lock.ts';
import { addressOf, MemoryMap } from './memory-map.ts';
import { errno, libc } from './native.ts';
import type { Syscalls } from './syscalls.ts';

const open = libc.func('int open(const char *path, int flags, int mode)');
const close = libc.func('int close(int fd)');
const read = libc.func('int64_t read(int fd, int64_t buffer, size_t length)');
const write = libc.func('int64_t write(int fd, int64_t buffer, size_t length)');
// Declared without `...`, which costs half as much again; the calling conventions of x86-64 and arm64 allow it.
const ioctl = libc.func('int ioctl(int fd, uint64_t request, int64_t argument)');
const eventfd = libc.func('int eventfd(unsigned int value, int flags)');

/** EFD_CLOEXEC | EFD_NONBLOCK */
const EVENTFD_FLAGS = 0o2004000;

const result = (value: number): number => (value < 0 ? -errno() : value);

/** The running kernel. */
export const linux: Syscalls = {
  // SAFETY: koffi passes a copy of the path that lives for the call.
  open: (path, flags) => result(open(path, flags, 0) as number),

  // SAFETY: no pointer. The caller has closed every Watch on the fd: libuv aborts on a polled fd that is gone.
  close: (fd) => result(close(fd) as number),

  // SAFETY: `buffer` is referenced by this frame until the call returns, and the length is its own.
  read: (fd, buffer) => result(read(fd, addressOf(buffer), buffer.length) as number),

  // SAFETY: as for `read`.
  write: (fd, buffer) => result(write(fd, addressOf(buffer), buffer.length) as number),

  // SAFETY: as for `read`; the request's number contains the size of its struct, which abi files assert.
  ioctl: (fd, request, argument) =>
    result(ioctl(fd, request, argument === undefined ? 0 : addressOf(argument)) as number),

  // SAFETY: no pointer.
  eventfd: () => result(eventfd(0, EVENTFD_FLAGS) as number),

  memfd,
  raiseMemoryLock,

  mmap: (fd, offset, length, prot) => new MemoryMap(fd, offset, length, prot),
};
