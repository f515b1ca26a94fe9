import type { Extent, IoFlags, IoVec, MaybePromise, Op } from '../api/device.ts';
import { PassThrough } from '../block/pass-through.ts';
import { iovLength } from '../util/iov.ts';

/** One request that is over. */
export interface Observation {
  readonly op: Op;
  readonly offset: number;
  readonly length: number;
  /** How long it took. Milliseconds. */
  readonly ms: number;
  /** Why it failed. */
  readonly error: Error | undefined;
}

/** Base of filters that watch: every request passes unchanged, and `observe` is told when it is over. */
export abstract class ObservedLayer extends PassThrough {
  protected abstract observe(observation: Observation): void;

  override read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#watch('read', offset, iovLength(iov), () => this.next.read(offset, iov, flags));
  }

  override write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#watch('write', offset, iovLength(iov), () => this.next.write(offset, iov, flags));
  }

  override flush(flags: IoFlags): MaybePromise<void> {
    return this.#watch('flush', 0, 0, () => this.next.flush(flags));
  }

  override discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.#watch('discard', offset, length, () => this.next.discard(offset, length, flags));
  }

  override writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.#watch('writeZeroes', offset, length, () => this.next.writeZeroes(offset, length, flags));
  }

  override extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    return this.#watch('extents', offset, length, () => this.next.extents(offset, length));
  }

  override prefetch(offset: number, length: number): MaybePromise<void> {
    return this.#watch('prefetch', offset, length, () => this.next.prefetch(offset, length));
  }

  #watch<T>(op: Op, offset: number, length: number, call: () => MaybePromise<T>): MaybePromise<T> {
    const start = performance.now();
    const over = (error: Error | undefined): void =>
      this.observe({ op, offset, length, ms: performance.now() - start, error });
    const failed = (error: unknown): never => {
      over(error as Error);
      throw error;
    };
    let pending: MaybePromise<T>;
    try {
      pending = call();
    } catch (error) {
      return failed(error);
    }
    if (pending instanceof Promise)
      return pending.then((value) => {
        over(undefined);
        return value;
      }, failed);
    over(undefined);
    return pending;
  }
}
