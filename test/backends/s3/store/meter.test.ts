import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { s3Config } from '../../../../backends/s3/config.ts';
import { startSession } from '../../../../backends/s3/session.ts';
import { LastHour } from '../../../../backends/s3/store/last-hour.ts';
import { Meter } from '../../../../backends/s3/store/meter.ts';
import { type Prices, pricesOf, S3_STANDARD } from '../../../../backends/s3/store/prices.ts';
import { ATTACH_POLICY } from '../../../../backends/s3/store/retrying-store.ts';
import { volumeInfo } from '../../../../backends/s3/volumes.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, KIB, MIB, pattern } from '../harness.ts';
import { newVolume, opened, operate } from '../log/disk.ts';

const MINUTE = 60_000;

describe('the cost of a store', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('counts requests, bytes and dollars by class, as they are charged', () => {
    const prices: Prices = { put: 1, get: 2, delete: 3, storage: 0, transferIn: 8, transferOut: 8 };
    const meter = new Meter(prices);
    for (let i = 0; i < 10; i++) meter.count('PUT', 1024 * KIB);
    meter.count('LIST');
    meter.count('GET');
    meter.received(512 * MIB);
    meter.count('HEAD');
    meter.count('DELETE');
    vi.advanceTimersByTime(30 * MINUTE);
    expect(meter.status()).toEqual({
      PUT: '10 (10 MiB) $0.088125; per hour 20 (20 MiB) $0.176250',
      LIST: '1 $0.001000; per hour 2 $0.002000',
      GET: '1 (512 MiB) $4.002000; per hour 2 (1 GiB) $8.004000',
      HEAD: '1 $0.002000; per hour 2 $0.004000',
      DELETE: '1 $0.003000; per hour 2 $0.006000',
      'reads sent twice': '0, the second was faster in 0',
      cost: '$4.096125; per hour $8.192250',
    });
  });

  it('forgets in its rate what is older than an hour, and nothing in its sum', () => {
    const meter = new Meter(S3_STANDARD);
    for (let i = 0; i < 1000; i++) meter.count('PUT');
    vi.advanceTimersByTime(59 * MINUTE);
    expect(meter.status()['PUT']).toMatch(/^1000 .*; per hour 1017 /);
    vi.advanceTimersByTime(2 * MINUTE);
    expect(meter.status()['PUT']).toBe('1000 (0 B) $0.005000; per hour 0 (0 B) $0.000000');
    vi.advanceTimersByTime(1000 * MINUTE);
    meter.count('PUT');
    expect(meter.status()['PUT']).toMatch(/^1001 .*; per hour 1 /);
  });

  it.each([1, 2, 3])('has the rate of the last hour, seed %i', (seed) => {
    const random = seededRandom(seed);
    const hour = new LastHour(2);
    const events: { readonly at: number; readonly amount: number }[] = [];
    const start = performance.now();
    for (let i = 0; i < 400; i++) {
      vi.advanceTimersByTime(Math.floor(random() ** 4 * 20 * MINUTE));
      const now = performance.now() - start;
      const amount = Math.floor(random() * 100);
      hour.add(1, amount);
      events.push({ at: now, amount });
      const from = Math.max(0, Math.floor(now / MINUTE - 59) * MINUTE);
      const sum = events.filter(({ at }) => at >= from).reduce((all, event) => all + event.amount, 0);
      expect(hour.rate(1)).toBeCloseTo((sum * 60 * MINUTE) / Math.max(MINUTE, now - from), 6);
      expect(hour.rate(0)).toBe(0);
    }
  });

  it('has the requests of a session, also those that are sent again, and what came', async () => {
    const store = new FakeStore(new FakeBucket());
    const config = s3Config.parse({ bucket: 'bucket', prefix: 'a', hedge: false });
    const { meter, ...session } = startSession(store, config, context(), new AbortController().signal);
    const through = session.with({ ...ATTACH_POLICY, baseMs: 0 });
    store.delayNextPut();
    await through.put('a/key', Buffer.alloc(3 * KIB));
    await through.read('a/key', KIB, [Buffer.alloc(64 * KIB)]);
    await through.get('a/key', 4 * KIB);
    await through.get('a/none', 4 * KIB);
    await through.head('a/key');
    await through.list('a/');
    await through.deleteMany(['a/key']);
    const counts = Object.entries(meter.status()).map(([name, words]) => `${name} ${words.split(' $')[0]}`);
    expect(counts.slice(0, 5)).toEqual(['PUT 2 (6 KiB)', 'LIST 1', 'GET 3 (5 KiB)', 'HEAD 1', 'DELETE 1']);
  });
});

describe('prices', () => {
  it.each([
    ['log', {}],
    ['chunk', { chunkSize: '1MiB' }],
  ])('say what it costs to keep a volume with the layout %s', async (_layout, layout) => {
    const bucket = await newVolume(16 * MIB, layout);
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(8 * MIB, 1)], 0);
      await disk.device.flush!(0);
    }
    const cost = async (options: Record<string, unknown>) =>
      (await operate(bucket, volumeInfo, options)).details!['storage, $ per month'];
    expect(await cost({})).toBe(0.0002);
    expect(await cost({ prices: { storage: 128 } })).toBe(1);
    expect(await cost({ endpoint: 'http://localhost:9000' })).toBe(0);
  });

  it("are those of S3, of the configuration, and nothing for a store of one's own", () => {
    expect(pricesOf({})).toEqual(S3_STANDARD);
    expect(pricesOf({ endpoint: 'https://s3.eu-central-1.amazonaws.com' })).toEqual(S3_STANDARD);
    expect(pricesOf({ prices: { storage: 0.1 } })).toEqual({ ...S3_STANDARD, storage: 0.1 });
    const own = pricesOf({
      endpoint: 'http://amazonaws.com.example.org:9000',
      prices: { transferOut: 0.01 },
    });
    expect(own).toEqual({ put: 0, get: 0, delete: 0, storage: 0, transferIn: 0, transferOut: 0.01 });
  });

  it.each([{ put: -1 }, { get: '1' }, { storage: Number.POSITIVE_INFINITY }, { post: 1 }])(
    'are not %j',
    (prices) => {
      expect(s3Config.safeParse({ bucket: 'bucket', prefix: 'a', prices }).success).toBe(false);
    },
  );
});
