import type { IoVec } from '../api/device.ts';
import { SystemError } from './errno.ts';
import { ThreadPoolEngine } from './thread-pool-engine.ts';
import { UringEngine } from './uring-engine.ts';

/**
 * Asynchronous transfers of one open file. Results are the kernel's: bytes moved, which may be fewer than asked for,
 * or a negated errno; the promises never reject. Disposal waits for what is in flight.
 */
export interface FileEngine extends AsyncDisposable {
  readonly name: 'io_uring' | 'thread pool';
  /**
   * Reads at `offset` into `iov` from byte `skip` of the list on. `beside`: the page cache probably has it, and the
   * copying is to be done by another processor.
   */
  readv(iov: IoVec, skip: number, offset: number, beside: boolean): Promise<number>;
  /** Writes `iov` from byte `skip` of the list on at `offset`. */
  writev(iov: IoVec, skip: number, offset: number): Promise<number>;
  fdatasync(): Promise<number>;
}

export interface EngineChoice {
  readonly engine: FileEngine;
  /** Why it is not io_uring, for a person. */
  readonly reason?: string;
}

/** io_uring where the machine allows it, else the thread pool. `BLOCKGATE_NO_IO_URING=1` asks for the pool. */
export function openFileEngine(fd: number): EngineChoice {
  if (process.env['BLOCKGATE_NO_IO_URING'] === '1') {
    return { engine: new ThreadPoolEngine(fd), reason: 'BLOCKGATE_NO_IO_URING is set' };
  }
  try {
    return { engine: new UringEngine(fd) };
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return { engine: new ThreadPoolEngine(fd), reason: error.message };
  }
}
