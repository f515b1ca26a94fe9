import type { IoVec } from '../api/device.ts';
import type { FileEngine } from './file-engine.ts';
import {
  IORING_FSYNC_DATASYNC,
  IORING_OP_FSYNC,
  IORING_OP_READV,
  IORING_OP_WRITEV,
  IOSQE_ASYNC,
  IoUring,
} from './io-uring.ts';
import { IovecArray } from './iovec.ts';

/** Most requests in the kernel at once; more wait here. Their number is bounded by the callers' queues. */
const DEPTH = 128;
/** Entries of one request's iovec array; longer lists are done in several steps. */
const SEGMENTS = 256;
/** A batch is handed over when it has this many: cached reads complete within the call, and the rest would wait. */
const BATCH = 16;

interface Operation {
  readonly opcode: number;
  readonly sqeFlags: number;
  /** Held here until the completion, since the kernel has the addresses of its segments. */
  readonly iov: IoVec;
  readonly skip: number;
  readonly offset: number;
  readonly flags: number;
  readonly resolve: (result: number) => void;
}

const NO_DATA: IoVec = [];

/** File transfers by io_uring, straight between the file and the caller's memory. One ring per file. */
export class UringEngine implements FileEngine {
  readonly name = 'io_uring';
  readonly #fd: number;
  readonly #ring: IoUring;
  readonly #iovecs = IovecArray.block(DEPTH, SEGMENTS);
  /** By slot; the slot's number is the request's `userData`. */
  readonly #active: (Operation | undefined)[] = new Array(DEPTH).fill(undefined);
  readonly #free: number[] = Array.from({ length: DEPTH }, (_, slot) => slot);
  readonly #waiting: Operation[] = [];
  #submitScheduled = false;
  #idle: (() => void) | undefined;

  /** Throws `SystemError` where io_uring is not to be had. */
  constructor(fd: number) {
    this.#fd = fd;
    this.#ring = new IoUring(DEPTH, (slot, result) => this.#complete(slot, result));
  }

  readv(iov: IoVec, skip: number, offset: number, beside: boolean): Promise<number> {
    return this.#enqueue(IORING_OP_READV, beside ? IOSQE_ASYNC : 0, iov, skip, offset, 0);
  }

  writev(iov: IoVec, skip: number, offset: number): Promise<number> {
    return this.#enqueue(IORING_OP_WRITEV, 0, iov, skip, offset, 0);
  }

  fdatasync(): Promise<number> {
    return this.#enqueue(IORING_OP_FSYNC, 0, NO_DATA, 0, 0, IORING_FSYNC_DATASYNC);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#free.length < DEPTH) await new Promise<void>((resolve) => (this.#idle = resolve));
    this.#ring[Symbol.dispose]();
  }

  #enqueue(
    opcode: number,
    sqeFlags: number,
    iov: IoVec,
    skip: number,
    offset: number,
    flags: number,
  ): Promise<number> {
    return new Promise((resolve) => {
      const operation = { opcode, sqeFlags, iov, skip, offset, flags, resolve };
      const slot = this.#free.pop();
      if (slot === undefined) this.#waiting.push(operation);
      else this.#start(slot, operation);
    });
  }

  #start(slot: number, operation: Operation): void {
    this.#active[slot] = operation;
    const iovecs = this.#iovecs[slot]!;
    const count = operation.iov.length === 0 ? 0 : iovecs.fill(operation.iov, operation.skip);
    this.#ring.prepare({
      opcode: operation.opcode,
      sqeFlags: operation.sqeFlags,
      fd: this.#fd,
      offset: operation.offset,
      address: count === 0 ? 0 : iovecs.address,
      length: count,
      flags: operation.flags,
      userData: slot,
    });
    if (this.#ring.unsubmitted >= BATCH) this.#ring.submit();
    else if (!this.#submitScheduled) {
      // All that one turn of the event loop brings goes over in one system call.
      this.#submitScheduled = true;
      queueMicrotask(() => {
        this.#submitScheduled = false;
        this.#ring.submit();
      });
    }
  }

  #complete(slot: number, result: number): void {
    const operation = this.#active[slot]!;
    this.#active[slot] = undefined;
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(slot);
    else this.#start(slot, next);
    operation.resolve(result);
    if (this.#free.length === DEPTH) this.#idle?.();
  }
}
