import type { Extent, IoFlags, IoVec, MaybePromise, ResolvedDevice } from '../api/device.ts';
import { PassThrough } from './pass-through.ts';

/** Added when the device's concurrency is `serial`: one call at a time, in the order they came. */
export class Serialize extends PassThrough {
  #last: Promise<unknown> = Promise.resolve();
  #queued = 0;

  constructor(next: ResolvedDevice) {
    super(next, { caps: { concurrency: 'parallel' } });
  }

  override read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#enqueue(() => this.next.read(offset, iov, flags));
  }

  override write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#enqueue(() => this.next.write(offset, iov, flags));
  }

  override flush(flags: IoFlags): MaybePromise<void> {
    return this.#enqueue(() => this.next.flush(flags));
  }

  override discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.#enqueue(() => this.next.discard(offset, length, flags));
  }

  override writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.#enqueue(() => this.next.writeZeroes(offset, length, flags));
  }

  override extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    return this.#enqueue(() => this.next.extents(offset, length));
  }

  override prefetch(offset: number, length: number): MaybePromise<void> {
    return this.#enqueue(() => this.next.prefetch(offset, length));
  }

  /** An idle device is called at once and may answer synchronously; only then is there no promise. */
  #enqueue<T>(call: () => MaybePromise<T>): MaybePromise<T> {
    if (this.#queued === 0) {
      const result = call();
      if (!(result instanceof Promise)) return result;
      return this.#track(result);
    }
    return this.#track(this.#last.then(call, call));
  }

  #track<T>(result: Promise<T>): Promise<T> {
    this.#queued++;
    const settled = () => {
      this.#queued--;
    };
    this.#last = result.then(settled, settled);
    return result;
  }
}
