import { closeSync } from 'node:fs';
import { Errno, SystemError } from './errno.ts';
import { addressOf, MAP_POPULATE, MAP_SHARED, MemoryMap, PROT_READ, PROT_WRITE } from './memory-map.ts';
import { errno, libc } from './native.ts';
import { loopReactor, type Watch } from './reactor.ts';

/** io_uring(7), driven from JavaScript: the rings are mapped memory, indices are read and published with Atomics. */

/** linux/io_uring.h, enum io_uring_op */
export const IORING_OP_READV = 1;
export const IORING_OP_WRITEV = 2;
export const IORING_OP_FSYNC = 3;
/** `sqeFlags`: run it in a kernel thread from the start, beside whatever this thread does. */
export const IOSQE_ASYNC = 1 << 4;
/** `flags` of IORING_OP_FSYNC */
export const IORING_FSYNC_DATASYNC = 1;

/** The three system calls have the same numbers on every architecture. */
const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const syscall4 = libc.func('int64_t syscall(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d)');

/** mmap offsets of linux/io_uring.h */
const IORING_OFF_SQ_RING = 0;
const IORING_OFF_SQES = 0x10000000;
/** `features`, linux 5.4: both rings are in one mapping. */
const IORING_FEAT_SINGLE_MMAP = 1;
const SQE_WORDS = 16;
const CQE_WORDS = 4;
const WORD = 2 ** 32;

/** Called for each completion: the `userData` of the request, and its result or negated errno. Must not throw. */
export type OnCompletion = (userData: number, result: number) => void;

/** One request; field names as in `struct io_uring_sqe`. */
export interface Submission {
  readonly opcode: number;
  /** IOSQE_* bits; the structure's own `flags`. */
  readonly sqeFlags: number;
  readonly fd: number;
  readonly offset: number;
  /** Address of the iovec array; it and all it points to stay where they are until the completion. */
  readonly address: number;
  readonly length: number;
  /** Of the operation: `rw_flags`, `fsync_flags`. */
  readonly flags: number;
  /** Comes back with the completion; a u32. */
  readonly userData: number;
}

/**
 * A submission and a completion ring. The event loop watches the ring's own file descriptor, which is readable while
 * there are completions; no eventfd is needed. The rings are for the thread that made them.
 */
export class IoUring implements Disposable {
  readonly #fd: number;
  readonly #rings: MemoryMap;
  readonly #entries: MemoryMap;
  /** Both rings, as u32 words; the positions below index it. */
  readonly #words: Uint32Array;
  readonly #sqes: Uint32Array;
  readonly #sqHead: number;
  readonly #sqTail: number;
  readonly #sqMask: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqMask: number;
  readonly #cqes: number;
  readonly #onCompletion: OnCompletion;
  readonly #watch: Watch;
  #unsubmitted = 0;
  #closed = false;

  /** `size`: most requests in flight, a power of two. Throws `SystemError`: EPERM or ENOSYS where it is forbidden. */
  constructor(size: number, onCompletion: OnCompletion) {
    // struct io_uring_params: 40 bytes, then the offsets of the two rings, 40 bytes each.
    const params = new Uint32Array(30);
    // SAFETY: the kernel writes 120 bytes at `params`, within the call.
    const fd = syscall4(SYS_IO_URING_SETUP, size, addressOf(new Uint8Array(params.buffer)), 0, 0) as number;
    if (fd < 0) throw new SystemError('io_uring_setup', errno());
    using undo = new DisposableStack();
    undo.defer(() => closeSync(fd));
    if ((params[5]! & IORING_FEAT_SINGLE_MMAP) === 0) throw new SystemError('io_uring_setup', Errno.ENOSYS);
    const [sq, cq] = [params.subarray(10, 20), params.subarray(20, 30)];
    const sqEntries = params[0]!;
    const cqEntries = params[1]!;
    const bytes = Math.max(sq[6]! + sqEntries * 4, cq[5]! + cqEntries * CQE_WORDS * 4);
    const access = PROT_READ | PROT_WRITE;
    this.#rings = new MemoryMap(fd, IORING_OFF_SQ_RING, bytes, access, MAP_SHARED | MAP_POPULATE);
    undo.defer(() => this.#rings.unmap());
    const sqeBytes = sqEntries * SQE_WORDS * 4;
    this.#entries = new MemoryMap(fd, IORING_OFF_SQES, sqeBytes, access, MAP_SHARED | MAP_POPULATE);
    undo.defer(() => this.#entries.unmap());

    this.#fd = fd;
    this.#onCompletion = onCompletion;
    this.#words = new Uint32Array(this.#rings.buffer, 0, bytes >> 2);
    this.#sqes = new Uint32Array(this.#entries.buffer);
    this.#sqHead = sq[0]! >> 2;
    this.#sqTail = sq[1]! >> 2;
    this.#sqMask = sqEntries - 1;
    this.#cqHead = cq[0]! >> 2;
    this.#cqTail = cq[1]! >> 2;
    this.#cqMask = cqEntries - 1;
    this.#cqes = cq[5]! >> 2;
    // The array that maps ring positions to entries: position n is always entry n.
    for (let i = 0; i < sqEntries; i++) this.#words[(sq[6]! >> 2) + i] = i;
    this.#watch = loopReactor.watch(fd, () => this.reap());
    undo.move();
  }

  /** Requests prepared and not yet handed to the kernel. */
  get unsubmitted(): number {
    return this.#unsubmitted;
  }

  /** Adds a request. The caller never has more than `size` of them anywhere between here and completion. */
  prepare(request: Submission): void {
    const tail = this.#words[this.#sqTail]!;
    const sqes = this.#sqes;
    const at = (tail & this.#sqMask) * SQE_WORDS;
    sqes[at] = request.opcode | (request.sqeFlags << 8);
    sqes[at + 1] = request.fd;
    sqes[at + 2] = request.offset % WORD;
    sqes[at + 3] = request.offset / WORD;
    sqes[at + 4] = request.address % WORD;
    sqes[at + 5] = request.address / WORD;
    sqes[at + 6] = request.length;
    sqes[at + 7] = request.flags;
    sqes[at + 8] = request.userData;
    sqes.fill(0, at + 9, at + SQE_WORDS);
    Atomics.store(this.#words, this.#sqTail, tail + 1);
    this.#unsubmitted++;
  }

  /** Hands what was prepared to the kernel, and reports what completed at once. */
  submit(): void {
    while (this.#unsubmitted > 0) {
      // SAFETY: the entries point to iovecs and segments that the requests' owner holds until completion.
      const taken = syscall4(SYS_IO_URING_ENTER, this.#fd, this.#unsubmitted, 0, 0) as number;
      if (taken > 0) {
        this.#unsubmitted -= taken;
        continue;
      }
      const failure = taken === 0 ? Errno.EAGAIN : errno();
      if (failure !== Errno.EINTR) this.#failUnsubmitted(failure);
    }
    this.reap();
  }

  /** Reports the completions that have arrived. A completion may prepare and submit more: positions are read anew. */
  reap(): void {
    const words = this.#words;
    while (!this.#closed) {
      const head = words[this.#cqHead]!;
      if (head === Atomics.load(words, this.#cqTail)) return;
      const at = this.#cqes + (head & this.#cqMask) * CQE_WORDS;
      const userData = words[at]!;
      const result = words[at + 2]! | 0;
      Atomics.store(words, this.#cqHead, head + 1);
      this.#onCompletion(userData, result);
    }
  }

  /** Only with nothing in flight: the kernel would go on writing into memory whose owner believes it is done. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    // In this order: libuv aborts the process when a descriptor is closed while it is still polled.
    this.#watch[Symbol.dispose]();
    this.#entries.unmap();
    this.#rings.unmap();
    closeSync(this.#fd);
  }

  /** The kernel refused the rest of the batch: takes it back and reports it as failed, so that nobody waits forever. */
  #failUnsubmitted(failure: number): void {
    const head = Atomics.load(this.#words, this.#sqHead);
    const refused: number[] = [];
    for (let i = 0; i < this.#unsubmitted; i++) {
      refused.push(this.#sqes[((head + i) & this.#sqMask) * SQE_WORDS + 8]!);
    }
    Atomics.store(this.#words, this.#sqTail, head);
    this.#unsubmitted = 0;
    for (const userData of refused) this.#onCompletion(userData, -failure);
  }
}
