import koffi from 'koffi';
import { Errno } from './errno.ts';
import { errno, libc } from './native.ts';

const madvise = libc.func('int madvise(int64_t address, size_t length, int advice)');
const processVmReadv = libc.func(
  'int64_t process_vm_readv(int pid, int64_t local, uint64_t locals, int64_t remote, uint64_t remotes, uint64_t flags)',
);

/** linux/mman.h, since 5.14: fault pages in, and report EFAULT where an access would raise SIGBUS. */
const MADV_POPULATE_READ = 22;
const MADV_POPULATE_WRITE = 23;
const PAGE = 4096;

/** Two `struct iovec`, where to and where from, and the byte that the first is about. */
const words = new BigUint64Array(5);
const local = koffi.address(words.buffer) as bigint;
const remote = Number(local) + 16;
words.set([local + 32n, 1n, 0n, 1n]);

/**
 * True when each of `length` bytes at `address`, which starts on a page, can be touched: read, or with `writable`
 * written too. Changes no byte. The pages are faulted in on the way.
 */
export function probePages(address: number, length: number, writable: boolean): boolean {
  // SAFETY: both advices only fault pages in, as an access would, and report what cannot be; they change no content.
  const result = madvise(address, length, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) as number;
  return result === 0 || (errno() === Errno.EINVAL && canRead(address, length));
}

/** For kernels that do not know those advices, or have pages of more than 4 KiB. Cannot tell what may be written. */
function canRead(address: number, length: number): boolean {
  for (let at = address; at < address + length; at += PAGE) {
    words[2] = BigInt(at);
    // SAFETY: the byte that is written is in `words`, which the module holds; what is read is read by the kernel,
    // which answers EFAULT where we would get a signal.
    if (processVmReadv(process.pid, Number(local), 1, remote, 1, 0) !== 1) return false;
  }
  return true;
}
