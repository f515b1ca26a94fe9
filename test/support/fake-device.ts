import type { BlockDevice, DeviceInfo, IoFlags, IoVec, MaybePromise } from '../../core/api/device.ts';
import type { Logger } from '../../core/api/logger.ts';
import { copyIn, copyOut, iovLength } from '../../core/util/iov.ts';

export interface Call {
  readonly op: string;
  readonly offset: number;
  readonly length: number;
  readonly flags: IoFlags;
  readonly segments: number;
}

/** A device in memory that remembers its calls and can hold each one until told. */
export class FakeDevice implements BlockDevice {
  readonly data: Uint8Array;
  readonly calls: Call[] = [];
  info: DeviceInfo;
  /** When set, called for each request; what it returns is awaited before the work is done. */
  gate: ((call: Call) => MaybePromise<void>) | undefined;
  disposed = 0;
  active = 0;
  maxActive = 0;

  constructor(info: DeviceInfo) {
    this.info = info;
    this.data = new Uint8Array(info.size);
  }

  read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#do('read', offset, iovLength(iov), flags, iov.length, () =>
      copyIn(iov, this.data.subarray(offset, offset + iovLength(iov))),
    );
  }

  write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#do('write', offset, iovLength(iov), flags, iov.length, () =>
      copyOut(iov, this.data.subarray(offset, offset + iovLength(iov))),
    );
  }

  flush(flags: IoFlags): MaybePromise<void> {
    return this.#do('flush', 0, 0, flags, 0, () => undefined);
  }

  discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.#do('discard', offset, length, flags, 0, () => undefined);
  }

  writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.#do('writeZeroes', offset, length, flags, 0, () => {
      this.data.fill(0, offset, offset + length);
    });
  }

  prefetch(offset: number, length: number): MaybePromise<void> {
    return this.#do('prefetch', offset, length, 0, 0, () => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed++;
  }

  #do(
    op: string,
    offset: number,
    length: number,
    flags: IoFlags,
    segments: number,
    work: () => void,
  ): MaybePromise<void> {
    const call = { op, offset, length, flags, segments };
    this.calls.push(call);
    const wait = this.gate?.(call);
    if (wait === undefined) return work();
    this.maxActive = Math.max(this.maxActive, ++this.active);
    return wait.then(work).finally(() => {
      this.active--;
    });
  }
}

/** A logger that keeps what it was told. */
export class MemoryLogger implements Logger {
  readonly lines: { level: string; message: string; fields: unknown }[] = [];
  error = (message: string, fields?: unknown) => this.#add('error', message, fields);
  warn = (message: string, fields?: unknown) => this.#add('warn', message, fields);
  info = (message: string, fields?: unknown) => this.#add('info', message, fields);
  debug = (message: string, fields?: unknown) => this.#add('debug', message, fields);
  child = (): Logger => this;

  #add(level: string, message: string, fields: unknown): void {
    this.lines.push({ level, message, fields });
  }
}
