import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HedgedStore } from '../../../../backends/s3/store/hedged-store.ts';
import { Meter } from '../../../../backends/s3/store/meter.ts';
import type { ObjectInfo } from '../../../../backends/s3/store/object-store.ts';
import { S3_STANDARD } from '../../../../backends/s3/store/prices.ts';
import { StoreError } from '../../../../backends/s3/store/store-error.ts';
import { iovLength } from '../../../../core/plugin.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';

const INFO: ObjectInfo = { etag: '"1"', size: 8, metadata: {} };

/** What becomes of a read: after so long it is answered with this byte, or fails. */
interface Fate {
  readonly ms: number;
  readonly byte?: number;
  readonly error?: StoreError;
}

const FAST: Fate = { ms: 10, byte: 1 };

/** A store whose reads have fates, in order, or else a common one. */
class ScriptedStore extends FakeStore {
  readonly fates: Fate[] = [];
  common = FAST;
  reads = 0;
  aborted = 0;

  constructor() {
    super(new FakeBucket());
  }

  override async read(_key: string, _offset: number, into: readonly Uint8Array[], signal?: AbortSignal) {
    this.reads++;
    const { ms, byte = 0, error } = this.fates.shift() ?? this.common;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      this.aborted++;
      reject(new StoreError('timeout', 'aborted'));
    });
    await promise;
    if (error !== undefined) throw error;
    for (const segment of into) segment.fill(byte);
    return iovLength(into) > 0 ? INFO : undefined;
  }
}

describe('HedgedStore', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  /** A store that has answered `reads` reads fast. */
  async function setUp(reads = 500) {
    const inner = new ScriptedStore();
    const slots = { waiting: 0 };
    const meter = new Meter(S3_STANDARD);
    const store = new HedgedStore(inner, slots, meter);
    const read = async (signal?: AbortSignal) => {
      const into = new Uint8Array(8);
      const info = await store.read('key', 0, [into], signal);
      return { info, byte: into[0], when: performance.now() };
    };
    for (let i = 0; i < reads; i++) {
      const one = read();
      await vi.advanceTimersByTimeAsync(10);
      await one;
    }
    inner.reads = 0;
    const sentTwice = () => meter.status()['reads sent twice'];
    return { inner, slots, store, read, sentTwice };
  }

  it('sends a late read again, takes the first answer and ends the other', async () => {
    const { inner, read, sentTwice } = await setUp();
    inner.fates.push({ ms: 5000, byte: 7 }, { ms: 10, byte: 8 });
    const start = performance.now();
    const reading = read();
    await vi.advanceTimersByTimeAsync(100);
    const { byte, when, info } = await reading;
    expect([byte, info]).toEqual([8, INFO]);
    expect(when - start).toBeLessThan(30);
    expect(inner).toMatchObject({ reads: 2, aborted: 1 });
    expect(sentTwice()).toBe('1, the second was faster in 1');
  });

  it('takes the first one if it comes before the second', async () => {
    const { inner, read, sentTwice } = await setUp();
    inner.fates.push({ ms: 30, byte: 7 }, { ms: 500, byte: 8 });
    const reading = read();
    await vi.advanceTimersByTimeAsync(1000);
    expect((await reading).byte).toBe(7);
    expect(inner.aborted).toBe(1);
    expect(sentTwice()).toBe('1, the second was faster in 0');
  });

  it.each([
    [
      'the first',
      [
        { ms: 30, error: new StoreError('server', 'no') },
        { ms: 50, byte: 8 },
      ],
      8,
    ],
    [
      'the second',
      [
        { ms: 100, byte: 7 },
        { ms: 5, error: new StoreError('server', 'no') },
      ],
      7,
    ],
  ] as const)('waits for the other one when %s fails', async (_, fates, expected) => {
    const { inner, read } = await setUp();
    inner.fates.push(...fates);
    const reading = read();
    await vi.advanceTimersByTimeAsync(1000);
    expect((await reading).byte).toBe(expected);
  });

  it('fails as the first one when both fail, and when it is ended', async () => {
    const { inner, read } = await setUp();
    inner.fates.push(
      { ms: 50, error: new StoreError('server', 'first') },
      { ms: 5, error: new StoreError('server', 'second') },
    );
    const reading = expect(read()).rejects.toThrow('first');
    await vi.advanceTimersByTimeAsync(1000);
    await reading;
    inner.fates.push({ ms: 5000 }, { ms: 5000 });
    const controller = new AbortController();
    const ended = expect(read(controller.signal)).rejects.toThrow('aborted');
    await vi.advanceTimersByTimeAsync(100);
    controller.abort();
    await ended;
    expect(inner.aborted).toBe(2);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('stays within two of a hundred, whatever the store does', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = seededRandom(seed);
    const { inner, read } = await setUp(0);
    const reads = 3000;
    for (let i = 0; i < reads; i++) {
      inner.common = { ms: random() < 0.1 ? 100 + random() * 2000 : 10, byte: 1 };
      const one = read();
      await vi.advanceTimersByTimeAsync(2200);
      await one;
    }
    expect(inner.reads - reads, `seed ${seed}`).toBeGreaterThan(reads * 0.01);
    expect(inner.reads - reads, `seed ${seed}`).toBeLessThanOrEqual(reads * 0.02);
  });

  it('does not while requests wait for slots, nor while the store asks for less', async () => {
    const { inner, slots, read } = await setUp();
    const slow = async () => {
      inner.reads = 0;
      inner.fates.push({ ms: 1000, byte: 1 });
      const reading = read();
      await vi.advanceTimersByTimeAsync(1000);
      await reading;
      return inner.reads;
    };
    slots.waiting = 1;
    expect(await slow()).toBe(1);
    slots.waiting = 0;
    inner.fates.push({ ms: 1, error: new StoreError('throttled', 'SlowDown') });
    const throttled = expect(read()).rejects.toThrow('SlowDown');
    await vi.advanceTimersByTimeAsync(10);
    await throttled;
    expect(await slow()).toBe(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await slow()).toBe(2);
  });

  it('leaves large reads alone', async () => {
    const { inner, store } = await setUp();
    inner.fates.push({ ms: 1000, byte: 1 });
    const reading = store.read('key', 0, [new Uint8Array(2 ** 20)]);
    await vi.advanceTimersByTimeAsync(2000);
    await reading;
    expect(inner.reads).toBe(1);
  });
});
