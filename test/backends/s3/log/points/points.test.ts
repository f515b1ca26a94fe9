import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type S3Config, s3Config } from '../../../../../backends/s3/config.ts';
import { checkVolume } from '../../../../../backends/s3/log/check/check-volume.ts';
import type { Head } from '../../../../../backends/s3/log/head.ts';
import { flattenVolume } from '../../../../../backends/s3/log/volume/flatten.ts';
import {
  cloneVolume,
  createSnapshot,
  deleteSnapshot,
  listSnapshots,
  rollbackVolume,
} from '../../../../../backends/s3/log/volume/snapshot-operations.ts';
import { listPoints } from '../../../../../backends/s3/log/volume/volume-points.ts';
import { openVolume } from '../../../../../backends/s3/open.ts';
import { type Operation, withStore } from '../../../../../backends/s3/operation.ts';
import { createVolume, deleteVolume, volumeInfo } from '../../../../../backends/s3/volumes.ts';
import type { BlockDevice } from '../../../../../core/plugin.ts';
import { FakeBucket, FakeStore } from '../../fake-store.ts';
import { context, HASTE, MIB, pattern, readAll, sameBytes } from '../../harness.ts';

const HOUR = 3_600_000;
const NOON = Date.parse('2026-03-01T12:00:00.000Z');

/** Only the time of day: timers go on. */
beforeEach(() => vi.useFakeTimers({ toFake: ['Date'], now: NOON }));
afterEach(() => vi.useRealTimers());

const at = (hours: number) => new Date(NOON + hours * HOUR);

function settings(prefix: string, options: Record<string, unknown> = {}): S3Config {
  return s3Config.parse({ bucket: 'bucket', prefix, ...options });
}

function on<T>(bucket: FakeBucket, prefix: string, run: (operation: Operation) => Promise<T>): Promise<T> {
  return withStore(new FakeStore(bucket), settings(prefix), context(), run);
}

async function newVolume(): Promise<FakeBucket> {
  const bucket = new FakeBucket();
  await withStore(new FakeStore(bucket), settings('a', { size: 64 * MIB }), context(), createVolume);
  return bucket;
}

async function withDisk<T>(
  bucket: FakeBucket,
  retention: string,
  use: (device: BlockDevice) => Promise<T>,
  prefix = 'a',
): Promise<T> {
  const device = await openVolume(new FakeStore(bucket), settings(prefix, { retention }), context(), HASTE);
  await using _device = device;
  return await use(device);
}

/** Opens the disk, writes, and closes it, so many hours after noon. */
async function write(bucket: FakeBucket, hours: number, tag: number, retention = '24h', prefix = 'a') {
  vi.setSystemTime(at(hours));
  await withDisk(
    bucket,
    retention,
    async (device) => {
      await device.write!(0, [pattern(MIB, tag)], 0);
      await device.flush!(0);
    },
    prefix,
  );
}

/** As `write`, and a collection with a checkpoint that knows what is dead. */
async function writeMuch(bucket: FakeBucket, hours: number, tag: number, retention = '24h') {
  vi.setSystemTime(at(hours));
  await withDisk(bucket, retention, async (device) => {
    for (let i = 0; i < 300; i++) {
      await device.write!(4096 * (i % 8), [pattern(4096, tag)], 0);
      await device.flush!(0);
    }
    await device.write!(0, [pattern(MIB, tag)], 0);
    await device.flush!(0);
  });
}

const holds = (bucket: FakeBucket, tag: number, prefix = 'a') =>
  withDisk(
    bucket,
    '24h',
    async (device) => sameBytes(await readAll(device, 0, MIB), pattern(MIB, tag)),
    prefix,
  );

const points = async (bucket: FakeBucket, prefix = 'a') =>
  (await on(bucket, prefix, listPoints)).map((point) => (Date.parse(point.at) - NOON) / HOUR);

const headOf = (bucket: FakeBucket, prefix = 'a'): Head =>
  JSON.parse(bucket.objects.get(`${prefix}/head`)!.body.toString());

const check = (bucket: FakeBucket, prefix = 'a') =>
  on(bucket, prefix, async (operation) => {
    const options = { data: true, repair: false, progress: () => undefined };
    return await checkVolume(operation, options);
  });

const stored = (bucket: FakeBucket) =>
  [...bucket.objects.values()].reduce((sum, { body }) => sum + body.length, 0);

describe('points of a log', () => {
  it('are there for a volume with a retention only', async () => {
    const bucket = await newVolume();
    await write(bucket, 0, 1, '0');
    expect(await points(bucket)).toEqual([]);
    expect(headOf(bucket)).not.toHaveProperty('points');
    await write(bucket, 1, 2);
    await write(bucket, 2, 3);
    expect(await points(bucket)).toEqual([1, 2]);
    expect((await check(bucket)).findings).toEqual([]);
  });

  it('are what the volume was, and can be gone back to and away from again', async () => {
    const bucket = await newVolume();
    for (const hour of [0, 1, 2]) await write(bucket, hour, hour + 1);
    vi.setSystemTime(at(3));
    const kept = await on(bucket, 'a', (operation) => rollbackVolume(operation, { at: at(1.5) }));
    expect(await holds(bucket, 2)).toBe(true);
    expect((await points(bucket)).slice(0, 3)).toEqual([0, 1, 2]);
    expect((await check(bucket)).findings).toEqual([]);
    await write(bucket, 4, 9);
    await on(bucket, 'a', (operation) => rollbackVolume(operation, { at: at(2) }));
    expect(await holds(bucket, 3)).toBe(true);
    vi.setSystemTime(at(5));
    await on(bucket, 'a', (operation) => rollbackVolume(operation, kept.name));
    expect(await holds(bucket, 3)).toBe(true);
    vi.setSystemTime(at(6));
    await on(bucket, 'a', (operation) => rollbackVolume(operation, { at: at(4) }));
    expect(await holds(bucket, 9)).toBe(true);
    expect((await check(bucket)).findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  });

  it('hold what is overwritten, until they expire, and not longer', async () => {
    const bucket = await newVolume();
    await writeMuch(bucket, 0, 1);
    await writeMuch(bucket, 1, 2);
    await writeMuch(bucket, 2, 3);
    const held = headOf(bucket).held!.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(held).toBeGreaterThanOrEqual(2 * MIB);
    expect((await on(bucket, 'a', volumeInfo)).details).toMatchObject({
      points: 3,
      'oldest point': at(0).toISOString(),
      'newest point': at(2).toISOString(),
      'held by points': held,
    });
    const before = stored(bucket);
    // The state of 12:00 counted until 13:00.
    await writeMuch(bucket, 24.5, 4);
    expect(await points(bucket)).toEqual([0, 1, 2, 24.5]);
    vi.setSystemTime(at(40));
    expect(await points(bucket)).toEqual([2, 24.5]);
    await writeMuch(bucket, 40, 5);
    expect(await points(bucket)).toEqual([2, 24.5, 40]);
    await writeMuch(bucket, 100, 6);
    await writeMuch(bucket, 200, 7);
    expect(await points(bucket)).toEqual([100, 200]);
    expect(stored(bucket)).toBeLessThan(before);
    const { findings, counts } = await check(bucket);
    expect(findings).toEqual([]);
    expect(counts['points']).toBe(2);
  });

  it('go with the retention, and what they held when the disk is opened', async () => {
    const bucket = await newVolume();
    await writeMuch(bucket, 0, 1);
    await writeMuch(bucket, 1, 2);
    await writeMuch(bucket, 2, 3);
    await write(bucket, 2, 3, '1h');
    expect(await points(bucket)).toEqual([1, 2]);
    await withDisk(bucket, '0', async () => {});
    expect(await points(bucket)).toEqual([]);
    expect(headOf(bucket)).toMatchObject({ points: [], held: [] });
    expect(stored(bucket)).toBeLessThan(2 * MIB);
    expect((await check(bucket)).findings).toEqual([]);
  });

  it('stay when an operation has another retention in its configuration', async () => {
    const bucket = await newVolume();
    await write(bucket, 0, 1);
    await write(bucket, 1, 2);
    await on(bucket, 'a', (operation) => createSnapshot(operation, 'one'));
    expect(await points(bucket)).toEqual([0, 1]);
  });

  it('come from a disk in use that is not written any more, and then it is idle', async () => {
    const bucket = await newVolume();
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'], now: NOON });
    const store = new FakeStore(bucket);
    const device = await openVolume(store, settings('a', { retention: '24h' }), context(), HASTE);
    await device.write!(0, [pattern(MIB, 1)], 0);
    await device.flush!(0);
    await vi.advanceTimersByTimeAsync(HOUR / 4);
    await vi.waitFor(() => expect(headOf(bucket).points).toHaveLength(1));
    const requests = store.requests.length;
    await vi.advanceTimersByTimeAsync(100 * HOUR);
    expect(store.requests).toHaveLength(requests);
    await device[Symbol.asyncDispose]();
    expect(await points(bucket)).toEqual([0.25]);
  });
});

describe('a moment', () => {
  it('is refused that nothing is known of, with what is', async () => {
    const bucket = await newVolume();
    await write(bucket, 0, 1, '0');
    const roll = (hours: number) =>
      on(bucket, 'a', (operation) => rollbackVolume(operation, { at: at(hours) }));
    await expect(roll(0)).rejects.toMatchObject({ code: 'volume.no-point', why: 'It has no points.' });
    await write(bucket, 1, 2);
    await write(bucket, 2, 3);
    await expect(roll(0.5)).rejects.toMatchObject({
      code: 'volume.no-point',
      why: `Its oldest point is of ${at(1).toISOString()}, and its newest of ${at(2).toISOString()}.`,
    });
    // It has expired, and nobody has opened the volume since.
    vi.setSystemTime(at(200));
    await expect(roll(1)).rejects.toMatchObject({ code: 'volume.no-point' });
    expect(await on(bucket, 'a', listSnapshots)).toEqual([]);
  });

  it('becomes a snapshot, which outlives the point', async () => {
    const bucket = await newVolume();
    for (const hour of [0, 1, 2]) await writeMuch(bucket, hour, hour + 1);
    const made = await on(bucket, 'a', (operation) => createSnapshot(operation, 'then', { at: at(1.2) }));
    expect(made).toEqual({ name: 'then', size: 64 * MIB, createdAt: at(1).toISOString() });
    await expect(
      on(bucket, 'a', (operation) => createSnapshot(operation, 'then', { at: at(1.2) })),
    ).rejects.toMatchObject({ code: 'volume.snapshot-exists' });
    await writeMuch(bucket, 100, 4);
    await writeMuch(bucket, 200, 5);
    expect((await check(bucket)).findings).toEqual([]);
    await on(bucket, 'a', (operation) => rollbackVolume(operation, 'then'));
    expect(await holds(bucket, 2)).toBe(true);
  });

  it('becomes a snapshot of a disk in use as well, which a clone then shows', async () => {
    const bucket = await newVolume();
    for (const hour of [0, 1, 2]) await writeMuch(bucket, hour, hour + 1);
    vi.setSystemTime(at(3));
    await withDisk(bucket, '24h', async (device) => {
      const keep = (name: string, hours: number) => device.snapshotAt!(name, { at: at(hours) });
      expect(await keep('then', 1.5)).toEqual({
        name: 'then',
        size: 64 * MIB,
        createdAt: at(1).toISOString(),
      });
      await expect(keep('then', 1.5)).rejects.toMatchObject({ code: 'volume.snapshot-exists' });
      await expect(keep('before', -1)).rejects.toMatchObject({ code: 'volume.no-point' });
      await on(bucket, 'a', (operation) => cloneVolume(operation, 'then', settings('b')));
      expect(await holds(bucket, 2, 'b')).toBe(true);
      await device.write!(0, [pattern(MIB, 9)], 0);
      await device.flush!(0);
    });
    await writeMuch(bucket, 100, 4);
    await writeMuch(bucket, 200, 5);
    expect(await holds(bucket, 2, 'b')).toBe(true);
    expect((await check(bucket)).findings).toEqual([]);
  });

  it('keeps what a snapshot leaves behind, and no more', async () => {
    const bucket = await newVolume();
    for (const hour of [0, 1, 2]) await writeMuch(bucket, hour, hour + 1);
    await on(bucket, 'a', (operation) => createSnapshot(operation, 'then', { at: at(1) }));
    await writeMuch(bucket, 3, 4);
    await on(bucket, 'a', (operation) => deleteSnapshot(operation, 'then'));
    expect((await check(bucket)).findings).toEqual([]);
    await on(bucket, 'a', (operation) => rollbackVolume(operation, { at: at(1) }));
    expect(await holds(bucket, 2)).toBe(true);
    const [before] = await on(bucket, 'a', listSnapshots);
    await writeMuch(bucket, 4, 6);
    await on(bucket, 'a', (operation) => deleteSnapshot(operation, before!.name));
    expect((await check(bucket)).findings).toEqual([]);
    await writeMuch(bucket, 100, 7);
    await writeMuch(bucket, 200, 8);
    await writeMuch(bucket, 201, 9, '0');
    expect(stored(bucket)).toBeLessThan(5 * MIB);
    expect((await check(bucket)).findings).toEqual([]);
  });

  it('is where a clone begins, which keeps it', async () => {
    const bucket = await newVolume();
    for (const hour of [0, 1, 2]) await writeMuch(bucket, hour, hour + 1);
    await on(bucket, 'a', (operation) => cloneVolume(operation, { at: at(1.5) }, settings('b')));
    await on(bucket, 'a', (operation) => cloneVolume(operation, { at: at(1.7) }, settings('c')));
    const [snapshot, ...others] = await on(bucket, 'a', listSnapshots);
    expect(others).toEqual([]);
    expect(snapshot!.name).toBe(`point-${at(1).toISOString()}`);
    await expect(
      on(bucket, 'a', (operation) => deleteSnapshot(operation, snapshot!.name)),
    ).rejects.toMatchObject({ code: 'volume.has-clones' });
    await writeMuch(bucket, 100, 4);
    await writeMuch(bucket, 200, 5);
    expect(await holds(bucket, 2, 'b')).toBe(true);
    for (const volume of ['a', 'b', 'c']) expect((await check(bucket, volume)).findings).toEqual([]);
  });
});

describe('operations', () => {
  it('drop the points of a clone that is flattened: they need its parent', async () => {
    const bucket = await newVolume();
    await write(bucket, 0, 1);
    await on(bucket, 'a', (operation) => cloneVolume(operation, { at: at(0) }, settings('b')));
    await write(bucket, 1, 2, '24h', 'b');
    await write(bucket, 2, 3, '24h', 'b');
    expect(await points(bucket, 'b')).toEqual([1, 2]);
    await on(bucket, 'b', (operation) => flattenVolume(operation, () => undefined));
    expect(await points(bucket, 'b')).toEqual([]);
    await write(bucket, 3, 4, '24h', 'b');
    expect(await points(bucket, 'b')).toEqual([3]);
    expect((await check(bucket, 'b')).findings.filter(({ severity }) => severity === 'error')).toEqual([]);
  });

  it('delete them with the volume', async () => {
    const bucket = await newVolume();
    for (const hour of [0, 1]) await writeMuch(bucket, hour, hour);
    await on(bucket, 'a', (operation) =>
      deleteVolume(operation, { force: false, progress: () => undefined }),
    );
    expect(bucket.objects.size).toBe(0);
  });
});

describe('"retention"', () => {
  it('is seconds, or a time with a unit, of a volume with the layout "log"', () => {
    expect(settings('a').retention).toBe(0);
    expect(settings('a', { retention: 3600 }).retention).toBe(HOUR);
    expect(settings('a', { retention: '7d' }).retention).toBe(7 * 24 * HOUR);
    for (const wrong of [
      { retention: '1s' },
      { retention: '9 lives' },
      { retention: '24h', layout: 'chunk' },
      { retention: '24h', chunkSize: '1MiB' },
    ])
      expect(() => settings('a', wrong)).toThrow();
  });
});
