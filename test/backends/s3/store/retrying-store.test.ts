import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RetryingStore, type RetryPolicy, RUN_POLICY } from '../../../../backends/s3/store/retrying-store.ts';
import { StoreError, type StoreErrorKind } from '../../../../backends/s3/store/store-error.ts';
import { StoreHealth } from '../../../../backends/s3/store/store-health.ts';
import { Semaphore } from '../../../../core/plugin.ts';
import { MemoryLogger } from '../../../support/fake-device.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';

const BODY = new Uint8Array([1, 2, 3]);

function setUp(policy: Partial<RetryPolicy> = {}, slots = 8) {
  const inner = new FakeStore(new FakeBucket(), () => 0);
  const logger = new MemoryLogger();
  const life = new AbortController();
  const store = new RetryingStore(inner, {
    policy: { ...RUN_POLICY, ...policy },
    slots: new Semaphore(slots),
    health: new StoreHealth(logger),
    signal: life.signal,
  });
  return { inner, logger, life, store };
}

function broken(kind: StoreErrorKind): StoreError {
  return new StoreError(kind, kind);
}

describe('RetryingStore', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('tries until the store is there again', async () => {
    const { inner, store } = setUp();
    inner.broken = broken('unreachable');
    const head = store.head('key');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(inner.count('head')).toBeGreaterThan(10);
    inner.broken = undefined;
    await vi.advanceTimersByTimeAsync(5000);
    await expect(head).resolves.toBeUndefined();
  });

  it('says once that the store is away, and once that it is back', async () => {
    const { inner, logger, store } = setUp();
    inner.broken = broken('unreachable');
    const all = Promise.all(Array.from({ length: 10 }, (_, i) => store.head(`key${i}`)));
    await vi.advanceTimersByTimeAsync(20_000);
    inner.broken = undefined;
    await vi.advanceTimersByTimeAsync(5000);
    await all;
    expect(logger.lines.map(({ level, message }) => `${level}: ${message}`)).toEqual([
      'warn: the store does not answer; the disk waits for it',
      'warn: the store answers again',
    ]);
  });

  it('does not mention a single failure', async () => {
    const { inner, logger, store } = setUp();
    inner.broken = broken('throttled');
    const head = store.head('key');
    await vi.advanceTimersByTimeAsync(0);
    inner.broken = undefined;
    await vi.advanceTimersByTimeAsync(5000);
    await head;
    expect(logger.lines).toEqual([]);
  });

  it('waits for credentials to be repaired while a disk runs', async () => {
    const { inner, logger, store } = setUp();
    inner.broken = broken('access-denied');
    const head = store.head('key');
    await vi.advanceTimersByTimeAsync(120_000);
    inner.broken = undefined;
    await vi.advanceTimersByTimeAsync(30_000);
    await expect(head).resolves.toBeUndefined();
    expect(logger.lines[0]?.message).toContain('the store refuses our requests');
  });

  it('fails at once for what somebody has to repair when nobody can wait', async () => {
    const { inner, store } = setUp({ waitForRepair: false });
    inner.broken = broken('bad-credentials');
    await expect(store.head('key')).rejects.toMatchObject({ kind: 'bad-credentials' });
    expect(inner.count('head')).toBe(1);
  });

  it('gives up after the time that was set, and says how long it tried', async () => {
    const { inner, store } = setUp({ giveUpAfterMs: 10_000 });
    inner.broken = broken('unreachable');
    const head = expect(store.head('key')).rejects.toThrow(/^unreachable \(tried for \d+ s\)$/);
    await vi.advanceTimersByTimeAsync(11_000);
    await head;
  });

  it('ends when the signal aborts, with its reason', async () => {
    const { inner, life, store } = setUp();
    inner.broken = broken('unreachable');
    const head = expect(store.head('key')).rejects.toThrow('stopped');
    await vi.advanceTimersByTimeAsync(1000);
    life.abort(new Error('stopped'));
    await head;
  });

  it('gives an attempt that took too long more time', async () => {
    const { inner, store } = setUp({ attemptMs: 1000, baseMs: 0 });
    const starts: number[] = [];
    inner.head = (_key, signal) =>
      new Promise((_resolve, reject) => {
        starts.push(performance.now());
        signal!.addEventListener('abort', () => reject(broken('timeout')));
      });
    store.head('key').catch(() => {});
    await vi.advanceTimersByTimeAsync(7100);
    const waits = starts.slice(1).map((start, i) => Math.round((start - starts[i]!) / 1000));
    expect(waits).toEqual([1, 2, 4]);
  });

  it('has no more requests under way than there are slots', async () => {
    const { inner, store } = setUp({}, 3);
    let running = 0;
    let most = 0;
    inner.gate = async () => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
    };
    await Promise.all(Array.from({ length: 20 }, (_, i) => store.head(`key${i}`)));
    expect(most).toBe(3);
  });

  it('recognises its own conditional write when the answer was lost', async () => {
    const { inner, store } = setUp({ baseMs: 0 });
    inner.faults = { lostResponse: 1 };
    inner.gate = async () => {
      if (inner.count('put') > 1) inner.faults = {};
    };
    const put = store.put('key', BODY, { condition: 'absent' });
    await vi.advanceTimersByTimeAsync(100);
    await expect(put).resolves.toBe(inner.bucket.objects.get('key')!.info.etag);
  });

  it('does not take another writer for itself', async () => {
    const { inner, store } = setUp({ baseMs: 0 });
    inner.faults = { unreachable: 1 };
    inner.gate = async () => {
      if (inner.count('put') > 1) inner.faults = {};
    };
    await new FakeStore(inner.bucket).put('key', BODY);
    const put = expect(store.put('key', BODY, { condition: 'absent' })).rejects.toMatchObject({
      kind: 'precondition-failed',
    });
    await vi.advanceTimersByTimeAsync(100);
    await put;
  });

  it('replaces what a store has kept of an upload of its own that broke off, and of nobody else’s', async () => {
    const { inner, store } = setUp({ baseMs: 0 });
    const tear = (key: string, metadata?: Readonly<Record<string, string>>) => {
      inner.bucket.objects.set(key, {
        body: Buffer.from(BODY.subarray(0, 1)),
        info: { etag: '"part"', size: 1, metadata: metadata ?? {} },
      });
      throw broken('unreachable');
    };
    const whole = inner.put.bind(inner);
    vi.spyOn(inner, 'put').mockImplementationOnce(async (key, _body, options) =>
      tear(key, options?.metadata),
    );
    const put = store.put('ours', BODY, { condition: 'absent' });
    await vi.advanceTimersByTimeAsync(100);
    const { body, info } = inner.bucket.objects.get('ours')!;
    await expect(put).resolves.toBe(info.etag);
    expect(body).toEqual(Buffer.from(BODY));
    vi.mocked(inner.put)
      .mockImplementation(whole)
      .mockImplementationOnce(async (key) => tear(key));
    const other = expect(store.put('other', BODY, { condition: 'absent' })).rejects.toMatchObject({
      kind: 'precondition-failed',
    });
    await vi.advanceTimersByTimeAsync(100);
    await other;
  });
});
