import { afterEach, describe, expect, it, vi } from 'vitest';
import { StoreError, type StoreErrorKind } from '../../../../backends/s3/store/store-error.ts';
import type { GatewayError } from '../../../../core/plugin.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { attachTo, CHUNK, config, newVolume, openDevice, pattern, readAll } from '../harness.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('opening a volume', () => {
  it.each<[StoreErrorKind, string, string]>([
    ['no-bucket', 's3.bucket-not-found', 'There is no bucket "bucket" at http://s3.test:9000.'],
    [
      'bad-credentials',
      's3.bad-credentials',
      'The S3 store http://s3.test:9000 does not accept the credentials.',
    ],
    [
      'access-denied',
      's3.access-denied',
      'The credentials do not allow what a disk needs in bucket "bucket".',
    ],
    [
      'wrong-region',
      's3.wrong-region',
      'The bucket "bucket" is not in the region that http://s3.test:9000 was asked in.',
    ],
    ['rejected', 's3.refused', 'The S3 store http://s3.test:9000 refused a request.'],
  ])('explains %s', async (kind, code, message) => {
    const store = new FakeStore(new FakeBucket());
    store.broken = new StoreError(kind, 'said the store', { status: 400 });
    const error = await openDevice(store, config({ endpoint: 'http://s3.test:9000' })).catch(
      (refused: GatewayError) => refused as GatewayError,
    );
    expect(error).toMatchObject({ code, message, why: 'said the store (HTTP 400).' });
    expect(store.disposed).toBe(1);
  });

  it('gives a store half a minute to answer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
    const store = new FakeStore(new FakeBucket());
    store.broken = new StoreError('unreachable', 'ECONNREFUSED: connect');
    const refused = expect(openDevice(store, config())).rejects.toMatchObject({
      code: 's3.unavailable',
      message: 'The S3 store AWS S3 cannot be reached.',
      why: expect.stringMatching(/^ECONNREFUSED: connect \(tried for \d\d s\)\.$/),
    });
    await vi.advanceTimersByTimeAsync(31_000);
    await refused;
  });

  it.each([
    [{ prefix: 'disks/b' }, 'volume.not-found', 'There is no volume at "disks/b" in bucket "bucket".'],
    [
      { size: 8 * CHUNK },
      'volume.size-mismatch',
      'The volume at "disks/a" has 262144 bytes, the configuration says 524288.',
    ],
    [
      { chunkSize: 2 * CHUNK },
      'volume.chunk-size-mismatch',
      'The volume at "disks/a" has chunks of 65536 bytes, the configuration says 131072.',
    ],
  ])('is refused when the configuration says %j', async (overrides, code, message) => {
    const { bucket } = await newVolume(4 * CHUNK);
    await expect(openDevice(new FakeStore(bucket), config(overrides))).rejects.toMatchObject({
      code,
      message,
    });
  });

  it.each([
    ['"version": 1', '"version": 7', 'volume.unsupported-version', 'has format version 7.'],
    [
      '"requiredFeatures": []',
      '"requiredFeatures": ["snapshots"]',
      'volume.unsupported-feature',
      'needs features that this blockgate lacks: snapshots.',
    ],
    ['"blockgate-chunk"', '"other"', 'volume.not-a-volume', 'does not describe a volume.'],
    ['"chunkSize": 65536', '"chunkSize": 65537', 'volume.corrupt', 'The volume description'],
    ['{', 'nonsense', 'volume.not-a-volume', 'does not describe a volume.'],
  ])('is refused when %s became %s', async (from, to, code, message) => {
    const { bucket } = await newVolume(4 * CHUNK);
    const record = bucket.objects.get('disks/a/volume.json')!;
    record.body = Buffer.from(record.body.toString().replace(from, to));
    const refused = openDevice(new FakeStore(bucket), config());
    await expect(refused).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  });

  it.each([
    ['missing', (bucket: FakeBucket, key: string) => bucket.objects.delete(key), 'it is missing'],
    [
      'damaged',
      (bucket: FakeBucket, key: string) => {
        bucket.objects.get(key)!.body[100]! ^= 1;
      },
      'its checksum is wrong',
    ],
  ])('is refused when the presence map is %s', async (_how, harm, why) => {
    const { bucket } = await newVolume(4 * CHUNK);
    harm(bucket, 'disks/a/map/00000000');
    await expect(openDevice(new FakeStore(bucket), config())).rejects.toMatchObject({
      code: 'volume.map-unreadable',
      message: `The presence map disks/a/map/00000000 cannot be used: ${why}.`,
    });
    // What was taken on the way was given back.
    const owner = bucket.objects.get('disks/a/owner.json')!.body.toString();
    expect(owner).toContain('"state": "released"');
  });

  it.each([
    ['ignores conditions', { conditional: false }],
    ['answers them with 501', { unsupported: 501 }],
  ])('is refused on a store that %s, unless told otherwise', async (_what, flaw) => {
    const { bucket } = await newVolume(4 * CHUNK);
    Object.assign(bucket, flaw);
    await expect(openDevice(new FakeStore(bucket), config())).rejects.toMatchObject({
      code: 's3.no-conditional-writes',
    });
    const { device, logger } = await attachTo(new FakeStore(bucket), config({ unsafeNoFence: true }));
    await using _device = device;
    await device.write(0, [pattern(512, 1)]);
    await device.flush();
    expect(logger.lines[0]?.message).toContain('without protection against a second gateway');
  });

  it('read-only takes no ownership and writes nothing', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using _writer = await openDevice(new FakeStore(bucket), config());
    const store = new FakeStore(bucket);
    await using reader = await openDevice(store, config(), { readOnly: true });
    expect(reader.info.caps?.readOnly).toBe(true);
    expect(await readAll(reader, 0, 512)).toEqual(new Uint8Array(512));
    expect(() => reader.write(0, [pattern(512, 1)])).toThrow(expect.objectContaining({ code: 'EROFS' }));
    expect(store.count('put')).toBe(0);
  });
});

describe('closing a volume', () => {
  it('gives it back', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    const store = new FakeStore(bucket);
    await (await openDevice(store, config()))[Symbol.asyncDispose]();
    expect(store.disposed).toBe(1);
    await using again = await openDevice(new FakeStore(bucket), config());
    expect(again.info.size).toBe(4 * CHUNK);
  });

  it('ends what waits for the store when the time for stopping is over, and says what is lost', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    const store = new FakeStore(bucket);
    const { device, logger, stop } = await attachTo(store, config());
    await device.write(0, [pattern(512, 1)]);
    store.broken = new StoreError('unreachable', 'ECONNREFUSED');
    const flushed = expect(device.flush()).rejects.toMatchObject({ code: 'ESHUTDOWN' });
    stop();
    await flushed;
    store.broken = undefined;
    await device[Symbol.asyncDispose]();
    expect(logger.lines.filter(({ level }) => level === 'error')).toMatchObject([
      { message: 'changes that were never flushed successfully are lost', fields: { chunks: 1 } },
    ]);
  });
});

describe('a volume that was taken over', () => {
  it('fails everything from the moment at which that is noticed, and is never written again', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { bucket } = await newVolume(4 * CHUNK);
    const store = new FakeStore(bucket);
    const { device, logger } = await attachTo(store, config());
    await device.write(0, [pattern(512, 1)]);
    await using second = await openDevice(new FakeStore(bucket), config(), { takeOver: true });
    await vi.advanceTimersByTimeAsync(10_000);
    await vi.waitFor(() => expect(logger.lines.some(({ level }) => level === 'error')).toBe(true));
    for (const request of [
      () => device.read(0, [new Uint8Array(512)]),
      () => device.write(0, [pattern(512, 1)]),
      () => device.flush(),
      () => device.discard(0, CHUNK),
    ]) {
      expect(request).toThrow(/^the volume was taken over: by disk "disk0" of pid/);
    }
    await device[Symbol.asyncDispose]();
    expect(store.keys('disks/a/chunk')).toEqual([]);
    await second.write(0, [pattern(512, 2)]);
    await second.flush();
  });

  it('is noticed at the latest when a chunk that the new owner has written is replaced', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using first = await openDevice(new FakeStore(bucket), config());
    await first.write(0, [pattern(512, 1)]);
    await first.flush();
    await using second = await openDevice(new FakeStore(bucket), config(), { takeOver: true });
    await second.write(0, [pattern(512, 2)]);
    await second.flush();
    await first.write(0, [pattern(512, 3)]);
    await expect(first.flush()).rejects.toMatchObject({ code: 'EIO' });
    expect(await readAll(second, 0, 512)).toEqual(pattern(512, 2));
  });
});

describe('what a crash leaves', () => {
  it('is swept at the next start: objects that the map does not know', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    const store = new FakeStore(bucket);
    const device = await openDevice(store, config());
    await device.write(0, [pattern(512, 1)]);
    store.gate = (operation, key) => {
      if (operation === 'put' && key.includes('map')) store.kill();
      return undefined;
    };
    await expect(device.flush()).rejects.toThrow();
    await device[Symbol.asyncDispose]();
    expect(store.keys('disks/a/chunk')).toHaveLength(1);

    await using again = await openDevice(new FakeStore(bucket), config(), { takeOver: true });
    expect(await readAll(again, 0, 512)).toEqual(new Uint8Array(512));
    await vi.waitFor(() => expect(store.keys('disks/a/chunk')).toEqual([]));
  });
});
