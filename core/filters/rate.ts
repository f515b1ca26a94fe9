import { z } from 'zod';
import type { IoFlags, IoVec, MaybePromise, ResolvedDevice } from '../api/device.ts';
import { defineFilter } from '../api/filter.ts';
import { PassThrough } from '../block/pass-through.ts';
import { sleep } from '../util/backoff.ts';
import { sizeSchema } from '../util/config-types.ts';
import { iovLength } from '../util/iov.ts';

const config = z
  .strictObject({
    iops: z
      .number()
      .positive()
      .optional()
      .meta({ description: 'Reads, writes and the like per second, at most.' }),
    bytesPerSecond: sizeSchema({ min: 512 })
      .optional()
      .meta({ description: 'Bytes that are read, fetched ahead and written per second, at most.' }),
    burst: z
      .number()
      .nonnegative()
      .max(3600)
      .default(0.1)
      .meta({ description: 'Seconds of allowance that a quiet disk saves up, to be used at once.' }),
  })
  .refine(({ iops, bytesPerSecond }) => iops !== undefined || bytesPerSecond !== undefined, {
    message: 'needs "iops", "bytesPerSecond" or both',
  });
type Config = z.output<typeof config>;

/** Requests are let through one after the other, each no earlier than the allowance has it; a flush is free. */
class RateLayer extends PassThrough {
  readonly #secondsPerRequest: number;
  readonly #secondsPerByte: number;
  readonly #burst: number;
  readonly #signal: AbortSignal;
  /** When everything that was let through so far is paid for. Seconds. */
  #paid = 0;

  constructor(next: ResolvedDevice, { iops, bytesPerSecond, burst }: Config, signal: AbortSignal) {
    super(next);
    this.#secondsPerRequest = iops === undefined ? 0 : 1 / iops;
    this.#secondsPerByte = bytesPerSecond === undefined ? 0 : 1 / bytesPerSecond;
    this.#burst = burst;
    this.#signal = signal;
  }

  override read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#paced(iovLength(iov), () => this.next.read(offset, iov, flags));
  }

  override write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void> {
    return this.#paced(iovLength(iov), () => this.next.write(offset, iov, flags));
  }

  override discard(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.#paced(0, () => this.next.discard(offset, length, flags));
  }

  override writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void> {
    return this.#paced(0, () => this.next.writeZeroes(offset, length, flags));
  }

  /** Has the store read as much as a read: it must not be a way around the limit. */
  override prefetch(offset: number, length: number): MaybePromise<void> {
    return this.#paced(length, () => this.next.prefetch(offset, length));
  }

  #paced(bytes: number, call: () => MaybePromise<void>): MaybePromise<void> {
    const now = performance.now() / 1000;
    this.#paid =
      Math.max(this.#paid, now - this.#burst) +
      Math.max(this.#secondsPerRequest, bytes * this.#secondsPerByte);
    const wait = this.#paid - now;
    if (wait <= 0) return call();
    return this.#later(wait, call);
  }

  /** When shutdown's grace period is over the wait ends, and the request goes on at once. */
  async #later(seconds: number, call: () => MaybePromise<void>): Promise<void> {
    await sleep(seconds * 1000, this.#signal).catch(() => undefined);
    await call();
  }
}

export default defineFilter<Config>({
  name: 'rate',
  description: 'Limits requests and bytes per second.',
  config,
  stance: {
    read: 'own',
    write: 'own',
    flush: 'pass',
    discard: 'own',
    writeZeroes: 'own',
    extents: 'pass',
    prefetch: 'own',
  },
  wrap: (next, limits, ctx) => new RateLayer(next, limits, ctx.signal),
});
