import koffi from 'koffi';
import { SystemError } from './errno.ts';
import { errno, libc } from './native.ts';
import { probePages } from './probe-pages.ts';

/** Mappings of memory that somebody else also sees, and the addresses of typed arrays for the kernel. */

const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
export const MAP_POPULATE = 0x8000;

const mmap = libc.func(
  'void *mmap(int64_t addr, size_t length, int prot, int flags, int fd, int64_t offset)',
);
const munmap = libc.func('int munmap(int64_t addr, size_t length)');
/** mmap reports failure with MAP_FAILED, not with a null pointer. */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

const bases = new WeakMap<ArrayBuffer, number>();

/**
 * One mmap, one ArrayBuffer. Exactly one: two views of the same address could not be revoked together.
 * Offset and length are page granular for the kernel; `buffer` has exactly `length` bytes.
 */
export class MemoryMap {
  readonly buffer: ArrayBuffer;
  readonly address: number;
  readonly length: number;
  readonly #writable: boolean;
  #mapped = true;
  #detached = false;

  /** Maps `length` bytes of `fd` from `offset`, shared. Throws `SystemError`. */
  constructor(fd: number, offset: number, length: number, prot: number, flags: number = MAP_SHARED) {
    // SAFETY: no pointer is passed in; the mapping outlives the fd and is released by `unmap` alone.
    const pointer = mmap(0, length, prot, flags, fd, offset) as bigint;
    if (pointer === MAP_FAILED) throw new SystemError('mmap', errno());
    this.address = Number(pointer);
    this.length = length;
    this.#writable = (prot & PROT_WRITE) !== 0;
    this.buffer = koffi.view(pointer, length);
    bases.set(this.buffer, this.address);
  }

  get mapped(): boolean {
    return this.#mapped;
  }

  /** True when bytes [offset, offset + length) can be touched: no SIGBUS. `offset` is page granular. */
  probe(offset: number, length: number): boolean {
    if (this.#detached || offset < 0 || offset + length > this.length) return false;
    return probePages(this.address + offset, length, this.#writable);
  }

  /**
   * Detaches every view and makes the range inaccessible. System calls that still hold an address in here then fail
   * with EFAULT: with zeros in its place, a write that is late would put zeros where the driver never wrote any. Pages
   * that a device does DMA to by now are out of reach.
   */
  detach(): void {
    if (this.#detached) return;
    this.#detached = true;
    this.buffer.transfer(0);
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    // SAFETY: MAP_FIXED replaces our own range only: address and length are those of the mapping, which is not
    // unmapped yet. No view of it is left: detached on the line above.
    const pointer = mmap(this.address, this.length, PROT_NONE, flags, -1, 0) as bigint;
    if (pointer === MAP_FAILED) throw new SystemError('mmap', errno());
  }

  /**
   * Detaches every view, then unmaps. The caller has made sure that no system call or io_uring request still holds
   * an address in here: detaching does not reach those.
   */
  unmap(): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    if (!this.#detached) this.buffer.transfer(0);
    this.#detached = true;
    // SAFETY: all views of the range are detached, so JavaScript cannot touch it any more.
    if (munmap(this.address, this.length) !== 0) throw new SystemError('munmap', errno());
  }
}

let lastBuffer: ArrayBufferLike | undefined;
let lastBase = 0;

/**
 * The address of a typed array's first byte, for a system call. Good for as long as the array's buffer lives and is
 * not detached: the caller keeps a reference until the kernel is done.
 */
export function addressOf(view: Uint8Array): number {
  const buffer = view.buffer;
  if (buffer === lastBuffer) return lastBase + view.byteOffset;
  let base = bases.get(buffer as ArrayBuffer);
  if (base === undefined) {
    base = Number(koffi.address(buffer as ArrayBuffer));
    bases.set(buffer as ArrayBuffer, base);
  }
  lastBuffer = buffer;
  lastBase = base;
  return base + view.byteOffset;
}
