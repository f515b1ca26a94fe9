import { fdatasync, readv, writev } from 'node:fs';
import type { IoVec } from '../api/device.ts';
import { iovSlice } from '../util/iov.ts';
import { Errno } from './errno.ts';
import type { FileEngine } from './file-engine.ts';
import { IOV_MAX } from './iovec.ts';

type Settle = (error: NodeJS.ErrnoException | null, bytes?: number) => void;

/** File transfers on libuv's thread pool: what is left where io_uring is forbidden. Several times the cost per call. */
export class ThreadPoolEngine implements FileEngine {
  readonly name = 'thread pool';
  readonly #fd: number;
  #inFlight = 0;
  #idle: (() => void) | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  readv(iov: IoVec, skip: number, offset: number): Promise<number> {
    return this.#run((settle) => readv(this.#fd, pieces(iov, skip), offset, settle));
  }

  writev(iov: IoVec, skip: number, offset: number): Promise<number> {
    return this.#run((settle) => writev(this.#fd, pieces(iov, skip), offset, settle));
  }

  fdatasync(): Promise<number> {
    return this.#run((settle) => fdatasync(this.#fd, settle));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  #run(start: (settle: Settle) => void): Promise<number> {
    this.#inFlight++;
    return new Promise((resolve) => {
      start((error, bytes = 0) => {
        if (--this.#inFlight === 0) this.#idle?.();
        // libuv's errno is negated already. An error without one came from Node itself: its arguments were wrong.
        resolve(error ? (error.errno ?? -Errno.EINVAL) : bytes);
      });
    });
  }
}

/** What one call takes; the rest makes it a short transfer. */
function pieces(iov: IoVec, skip: number): Uint8Array[] {
  const length = iov.reduce((sum, segment) => sum + segment.length, -skip);
  return iovSlice(iov, skip, length).slice(0, IOV_MAX);
}
