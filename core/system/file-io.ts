import { statfsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { IoVec, MaybePromise } from '../api/device.ts';
import { BlockError } from '../api/errors.ts';
import { copyIn, copyOut, iovLength, iovSlice } from '../util/iov.ts';
import { alignedBuffer, type DirectAlignment, isAligned } from './direct-io.ts';
import { Errno } from './errno.ts';
import { type FileEngine, openFileEngine } from './file-engine.ts';
import { blockError } from './file-errors.ts';
import { type FileSyscalls, fileSyscalls, RWF_NOWAIT } from './file-syscalls.ts';

/**
 * Largest transfer done within the call that asks for it: 4 MiB, about a millisecond of copying. Larger ones go to
 * the engine, so that one request cannot keep this thread from everything else.
 */
const SYNC_MAX = 4 * 2 ** 20;
/**
 * From here on, copying a read from the page cache takes longer than having another processor do it: 256 KiB. The
 * first of several such reads is done within the call all the same, since nobody knows that there will be more.
 */
const BESIDE_MIN = 256 * 1024;
/** From here on two processors share the copying of a single read, if there is no other: 512 KiB. */
const SHARED_MIN = 512 * 1024;
/**
 * After so many reads in a row that the page cache has served, small ones of a single segment are expected to be served
 * too, and done by a plain pread: a call that must not wait costs a tenth more. One in so many still asks. Where the
 * cache misses too rarely to be noticed that way, waiting for the disk costs no more than the other calls have saved.
 */
const TRUSTED_AFTER = 16_384;
const ASK_EVERY = 16;
const TRUSTED_MAX = 16 * 1024;
/** EINTR and EAGAIN in a row before the request fails. */
const RETRIES = 16;
/** linux/magic.h */
const TMPFS_MAGIC = 0x01021994;

export interface FileIoOptions {
  /** For messages. */
  readonly path: string;
  /** The file was opened with O_DIRECT, and this is what it demands. */
  readonly direct?: DirectAlignment;
  /**
   * `FLUSH_STATE_BYTES` zeros that every `FileIo` on the same open file has in common, whatever its thread: what one
   * of them learns from a failed flush, the kernel does not tell the others. Default: one of its own.
   */
  readonly flushState?: SharedArrayBuffer;
  /** Default: io_uring or the thread pool, as the machine allows. */
  readonly engine?: FileEngine;
  /** For tests. Default: the kernel. */
  readonly syscalls?: FileSyscalls;
}

/**
 * Reads, writes and flushes of one open file at any offset, all or nothing, without copying.
 *
 * What the page cache can serve is done within the call: a read that hits (RWF_NOWAIT, or experience), and a buffered
 * write, which for most file systems is cheaper than any way around it. Everything else that waits for a disk goes to
 * the engine, and so do large reads when there are several at a time, for other processors to share the copying. A very large one
 * by itself is shared by two.
 *
 * Segments are borrowed until the call settles: the kernel may have their addresses until then.
 */
export class FileIo implements AsyncDisposable {
  static readonly FLUSH_STATE_BYTES = 4;
  readonly engineName: FileEngine['name'];
  /** Why the engine is not io_uring, where it is not. */
  readonly engineReason: string | undefined;
  readonly #fd: number;
  readonly #path: string;
  readonly #direct: DirectAlignment | undefined;
  readonly #engine: FileEngine;
  readonly #syscalls: FileSyscalls;
  /** Flags for a read that does not wait, or undefined where none is possible. */
  readonly #readFlags: number | undefined;
  /** Reads in a row that the page cache has served; stays within ASK_EVERY of TRUSTED_AFTER. */
  #hits = 0;
  readonly #canReadBeside = availableParallelism() > 1;
  #readsBeside = 0;
  #largeReadThisTurn = false;
  readonly #endTurn = (): void => {
    this.#largeReadThisTurn = false;
  };
  /** Not 0 once a flush has failed, in any thread. */
  readonly #flushState: Int32Array;

  /** `fd` stays the caller's, to be closed after disposal. */
  constructor(fd: number, options: FileIoOptions) {
    this.#fd = fd;
    this.#path = options.path;
    this.#direct = options.direct;
    this.#flushState = new Int32Array(options.flushState ?? new SharedArrayBuffer(FileIo.FLUSH_STATE_BYTES));
    this.#syscalls = options.syscalls ?? fileSyscalls;
    this.#readFlags = options.direct ? undefined : syncReadFlags(fd, this.#syscalls);
    const { engine, reason } = options.engine
      ? { engine: options.engine, reason: undefined }
      : openFileEngine(fd);
    this.#engine = engine;
    this.engineName = engine.name;
    this.engineReason = reason;
  }

  read(offset: number, iov: IoVec): MaybePromise<void> {
    const total = iovLength(iov);
    let done = 0;
    if (this.#readFlags !== undefined && total <= SYNC_MAX) {
      if (total >= BESIDE_MIN && this.#canReadBeside) {
        if (this.#isBusyReading()) return this.#readBeside(offset, iov, 0, total);
        if (total >= SHARED_MIN) return this.#readShared(offset, iov, total, this.#readFlags);
      }
      const trusted = this.#hits > TRUSTED_AFTER && iov.length === 1 && total <= TRUSTED_MAX;
      const result = this.#syscalls.preadv(this.#fd, iov, 0, offset, trusted ? 0 : this.#readFlags);
      if (result === total) {
        this.#hits = this.#hits === TRUSTED_AFTER + ASK_EVERY - 1 ? TRUSTED_AFTER : this.#hits + 1;
        return;
      }
      this.#hits = 0;
      // A miss, a partial hit or an error: the engine does the rest, and has the last word on errors.
      done = Math.max(result, 0);
    }
    return this.#readByEngine(offset, iov, done, total);
  }

  write(offset: number, iov: IoVec): MaybePromise<void> {
    const total = iovLength(iov);
    let done = 0;
    if (this.#direct === undefined && total <= SYNC_MAX) {
      const result = this.#syscalls.pwritev(this.#fd, iov, 0, offset);
      if (result === total) return;
      done = Math.max(result, 0);
    }
    return this.#writeByEngine(offset, iov, done, total);
  }

  #writeByEngine(offset: number, iov: IoVec, done: number, total: number): Promise<void> {
    if (this.#direct && !isAligned(iov, this.#direct)) {
      const copy = alignedBuffer(total, this.#direct);
      copyOut(iov, copy);
      return this.#finish('write', [copy], offset, 0, total);
    }
    return this.#finish('write', iov, offset, done, total);
  }

  /**
   * Settles when every write that settled before is durable. After one failure it fails for good: the kernel reports
   * a lost write once, marks the pages clean, and a second fdatasync would claim success.
   */
  async flush(): Promise<void> {
    let result = 0;
    for (let attempt = 0; attempt === 0 || (isInterruption(result) && attempt <= RETRIES); attempt++) {
      if (Atomics.load(this.#flushState, 0) !== 0) throw this.#flushFailed('an earlier flush failed');
      result = await this.#engine.fdatasync();
    }
    if (result < 0) {
      Atomics.store(this.#flushState, 0, 1);
      const { message, cause } = blockError(this.#path, 'flush', 'fdatasync', -result);
      throw this.#flushFailed(message, cause);
    }
    // Another thread's flush may have taken the news of a lost write that this one waited for.
    if (Atomics.load(this.#flushState, 0) !== 0) throw this.#flushFailed('a flush beside this one failed');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#engine[Symbol.asyncDispose]();
  }

  #flushFailed(what: string, cause?: unknown): BlockError {
    return new BlockError(
      'EIO',
      `${what}; writes since the last successful flush of ${this.#path} may be lost, so every later one fails too`,
      { cause },
    );
  }

  /** True for all large reads but the first of a turn of the event loop, and while others are under way. */
  #isBusyReading(): boolean {
    if (this.#readsBeside > 0 || this.#largeReadThisTurn) return true;
    this.#largeReadThisTurn = true;
    queueMicrotask(this.#endTurn);
    return false;
  }

  #readByEngine(offset: number, iov: IoVec, done: number, total: number): Promise<void> {
    if (this.#direct && !isAligned(iov, this.#direct))
      return this.#readCopied(offset, iov, total, this.#direct);
    return this.#finish('read', iov, offset, done, total);
  }

  async #readBeside(offset: number, iov: IoVec, done: number, total: number): Promise<void> {
    this.#readsBeside++;
    try {
      await this.#finish('read', iov, offset, done, total, true);
    } finally {
      this.#readsBeside--;
    }
  }

  /** The second half is copied beside, the first here meanwhile. */
  async #readShared(offset: number, iov: IoVec, total: number, flags: number): Promise<void> {
    const half = total >>> 1;
    const rest = this.#readBeside(offset, iov, half, total);
    rest.catch(() => {});
    // The engine hands over what it has got in a microtask.
    await undefined;
    const first = iovSlice(iov, 0, half);
    try {
      const result = this.#syscalls.preadv(this.#fd, first, 0, offset, flags);
      if (result !== half) await this.#finish('read', first, offset, Math.max(result, 0), half);
    } finally {
      // The segments are borrowed until both are done.
      await rest;
    }
  }

  async #readCopied(offset: number, iov: IoVec, total: number, alignment: DirectAlignment): Promise<void> {
    const copy = alignedBuffer(total, alignment);
    await this.#finish('read', [copy], offset, 0, total);
    copyIn(iov, copy);
  }

  /** Moves bytes `done` to `total` of a request, in as many steps as the kernel makes of it. */
  async #finish(
    kind: 'read' | 'write',
    iov: IoVec,
    offset: number,
    done: number,
    total: number,
    beside = false,
  ): Promise<void> {
    let interruptions = 0;
    while (done < total) {
      const result =
        kind === 'read'
          ? await this.#engine.readv(iov, done, offset + done, beside)
          : await this.#engine.writev(iov, done, offset + done);
      if (result > 0) {
        done += result;
        interruptions = 0;
      } else if (result === 0) {
        throw this.#endedEarly(kind, offset + done);
      } else if (!isInterruption(result) || ++interruptions > RETRIES) {
        throw blockError(this.#path, `${kind} of ${total} bytes at ${offset}`, `${kind}v`, -result);
      }
    }
  }

  #endedEarly(kind: 'read' | 'write', position: number): BlockError {
    return kind === 'read'
      ? new BlockError(
          'EIO',
          `${this.#path}: ends at byte ${position}, before the end of the disk; was it truncated?`,
        )
      : new BlockError('EIO', `${this.#path}: takes no more data at byte ${position}`);
  }
}

function isInterruption(result: number): boolean {
  return result === -Errno.EINTR || result === -Errno.EAGAIN;
}

/** How this file can be read without waiting: from the page cache only, on tmpfs always, on some file systems not. */
function syncReadFlags(fd: number, syscalls: FileSyscalls): number | undefined {
  const result = syscalls.preadv(fd, [new Uint8Array(1)], 0, 0, RWF_NOWAIT);
  if (result !== -Errno.EOPNOTSUPP) return RWF_NOWAIT;
  return statfsSync(`/proc/self/fd/${fd}`).type === TMPFS_MAGIC ? 0 : undefined;
}
