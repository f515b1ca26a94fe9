import { z } from 'zod';
import type { IoFlags, IoVec, MaybePromise, ResolvedDevice } from '../api/device.ts';
import { defineFilter } from '../api/filter.ts';
import { PassThrough } from '../block/pass-through.ts';
import { sleep } from '../util/backoff.ts';
import { seededRandom } from '../util/random.ts';

const milliseconds = (what: string) =>
  z
    .number()
    .nonnegative()
    .default(0)
    .meta({ description: `Milliseconds that ${what}.` });

const config = z.strictObject({
  readMs: milliseconds('each read and prefetch takes longer'),
  writeMs: milliseconds('each write, discard and write-zeroes takes longer'),
  flushMs: milliseconds('each flush takes longer'),
  jitterMs: milliseconds('are added at random, at most, to each of these'),
  seed: z.int().nonnegative().default(0).meta({ description: 'Start of the random sequence.' }),
});
type Config = z.output<typeof config>;

class DelayLayer extends PassThrough {
  readonly #config: Config;
  readonly #signal: AbortSignal;
  readonly #random: () => number;

  constructor(next: ResolvedDevice, delays: Config, signal: AbortSignal) {
    super(next);
    this.#config = delays;
    this.#signal = signal;
    this.#random = seededRandom(delays.seed);
  }

  override read(offset: number, iov: IoVec, flags: IoFlags): Promise<void> {
    return this.#after(this.#config.readMs, () => this.next.read(offset, iov, flags));
  }

  override write(offset: number, iov: IoVec, flags: IoFlags): Promise<void> {
    return this.#after(this.#config.writeMs, () => this.next.write(offset, iov, flags));
  }

  override flush(flags: IoFlags): Promise<void> {
    return this.#after(this.#config.flushMs, () => this.next.flush(flags));
  }

  override discard(offset: number, length: number, flags: IoFlags): Promise<void> {
    return this.#after(this.#config.writeMs, () => this.next.discard(offset, length, flags));
  }

  override writeZeroes(offset: number, length: number, flags: IoFlags): Promise<void> {
    return this.#after(this.#config.writeMs, () => this.next.writeZeroes(offset, length, flags));
  }

  override prefetch(offset: number, length: number): Promise<void> {
    return this.#after(this.#config.readMs, () => this.next.prefetch(offset, length));
  }

  /** When shutdown's grace period is over the wait ends, and the request goes on at once. */
  async #after(ms: number, call: () => MaybePromise<void>): Promise<void> {
    await sleep(ms + this.#random() * this.#config.jitterMs, this.#signal).catch(() => undefined);
    await call();
  }
}

export default defineFilter<Config>({
  name: 'delay',
  description: 'Makes requests slower, by a fixed time and a random one.',
  config,
  stance: {
    read: 'own',
    write: 'own',
    flush: 'own',
    discard: 'own',
    writeZeroes: 'own',
    extents: 'pass',
    prefetch: 'own',
  },
  wrap: (next, delays, ctx) => new DelayLayer(next, delays, ctx.signal),
});
