import { afterEach, describe, expect, it, vi } from 'vitest';
import { encodeProfile, UNIT } from '../../../../../backends/s3/log/boot/profile.ts';
import { checkVolume } from '../../../../../backends/s3/log/check/check-volume.ts';
import { cloneVolume, createSnapshot } from '../../../../../backends/s3/log/volume/snapshot-operations.ts';
import { StoreError } from '../../../../../backends/s3/store/store-error.ts';
import { deleteVolume } from '../../../../../backends/s3/volumes.ts';
import type { BlockDevice, OpenContext } from '../../../../../core/plugin.ts';
import { seededRandom } from '../../../../../core/util/random.ts';
import type { FakeBucket } from '../../fake-store.ts';
import { MIB, pattern, readAll, sameBytes } from '../../harness.ts';
import { newVolume, opened, operate, settings } from '../disk.ts';
import { keyFile } from '../key-files.ts';

const PROFILE = 'disks/a/boot-profile';
const ON = { bootProfile: true };
const REPLAY = { bootProfile: { record: false } };
const UNITS = (8 * MIB) / UNIT;

/** What unit n holds. */
const content = (unit: number) => pattern(UNIT, unit + 1);

async function filled(options: Record<string, unknown> = {}): Promise<FakeBucket> {
  const bucket = await newVolume(8 * MIB, options);
  await using disk = await opened(bucket, options);
  for (let unit = 0; unit < UNITS; unit++) await disk.device.write!(unit * UNIT, [content(unit)], 0);
  await disk.device.flush!(0);
  return bucket;
}

/** 2 MiB of the disk, in no order but the first. */
function someUnits(seed: number): number[] {
  const random = seededRandom(seed);
  const units = new Set([0]);
  while (units.size < 32) units.add(Math.floor(random() * UNITS));
  return [...units];
}

const BOOT = someUnits(1);

/** Reads a block of each, as a guest that boots. */
async function boot(device: BlockDevice, units = BOOT): Promise<void> {
  for (const unit of units) {
    const block = await readAll(device, unit * UNIT + 4096, 4096);
    expect(sameBytes(block, content(unit).subarray(4096, 8192))).toBe(true);
  }
}

const words = ({ device }: { readonly device: BlockDevice }) => device.status!()['boot profile'];

const replayed = (disk: { readonly device: BlockDevice }) =>
  expect.poll(() => words(disk), { interval: 1 }).toMatch(/^replayed /);

const nothing = (disk: { readonly device: BlockDevice }) =>
  expect.poll(() => words(disk), { interval: 1 }).toMatch(/^none to replay/);

/** A disk that boots, and is closed. */
async function booted(
  bucket: FakeBucket,
  units = BOOT,
  options: Record<string, unknown> = ON,
  open: Partial<OpenContext> = {},
) {
  const disk = await opened(bucket, options, open);
  await expect.poll(() => words(disk), { interval: 1 }).not.toMatch(/^not read/);
  await boot(disk.device, units);
  await disk.device[Symbol.asyncDispose]();
  return disk;
}

/** Units of it that a disk has in memory after its replay: they are read without a request. */
async function known(bucket: FakeBucket, options: Record<string, unknown> = {}, units = BOOT) {
  await using disk = await opened(bucket, { ...options, ...REPLAY });
  await expect.poll(() => words(disk), { interval: 1 }).toMatch(/^(replayed|none) /);
  let count = 0;
  for (const unit of units) {
    disk.store.requests.length = 0;
    await boot(disk.device, [unit]);
    if (disk.store.requests.length === 0) count++;
  }
  return count;
}

afterEach(() => {
  vi.useRealTimers();
});

describe('a boot profile', () => {
  it.each([
    ['plain', {}],
    ['compressed', { compression: 'zstd' }],
    ['encrypted', { encryption: keyFile('key') }],
  ])('makes the next boot one without a request, %s', async (_kind, kind) => {
    const options = { ...ON, ...kind };
    const bucket = await filled(kind);
    const first = await booted(bucket, BOOT, options);
    expect(first.store.count('put', PROFILE)).toBe(1);
    await using disk = await opened(bucket, options);
    await replayed(disk);
    expect(words(disk)).toBe('replayed 2 MiB; recording, 0 B');
    disk.store.requests.length = 0;
    await boot(disk.device);
    for (const unit of BOOT)
      expect(sameBytes(await readAll(disk.device, unit * UNIT, UNIT), content(unit))).toBe(true);
    expect(disk.store.requests).toEqual([]);
    expect(words(disk)).toBe('replayed 2 MiB; recording, 2 MiB');
  });

  it('is not asked for, not written, and costs nothing unless the configuration wants it', async () => {
    const bucket = await filled();
    await booted(bucket);
    const { store, device } = await opened(bucket);
    expect(words({ device })).toBeUndefined();
    await boot(device);
    await device[Symbol.asyncDispose]();
    expect(store.count('get', PROFILE) + store.count('put', PROFILE)).toBe(0);
  });

  it('is stored once, when the time is over; what is read later is not in it', async () => {
    const bucket = await filled();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const disk = await opened(bucket, { bootProfile: { seconds: 7 } });
    await nothing(disk);
    // From the first read on.
    await vi.advanceTimersByTimeAsync(60_000);
    expect(words(disk)).toBe('none to replay; recording, 0 B');
    await boot(disk.device, BOOT.slice(0, 20));
    await vi.advanceTimersByTimeAsync(6900);
    await boot(disk.device, BOOT.slice(20));
    expect(disk.store.count('put', PROFILE)).toBe(0);
    await vi.advanceTimersByTimeAsync(200);
    vi.useRealTimers();
    await expect.poll(() => words(disk)).toBe('none to replay; recorded 2 MiB');
    disk.store.requests.length = 0;
    await boot(disk.device);
    await boot(disk.device, someUnits(2));
    expect(disk.store.requests.every(({ operation }) => operation === 'read')).toBe(true);
    await disk.device[Symbol.asyncDispose]();
    expect(disk.store.count('put', PROFILE)).toBe(0);
    expect(await known(bucket)).toBe(BOOT.length);
  });

  it('is fetched instead of what follows on the disk, which a guest that boots as before does not want', async () => {
    const bucket = await filled();
    const units = [0, 1, 2, 3, 40, 41, 42, 43, 80, 81, 82, 83, 20, 21, 22, 23];
    await booted(bucket, units);
    await using disk = await opened(bucket, ON);
    await replayed(disk);
    disk.store.requests.length = 0;
    for (const first of [0, 40, 80, 20])
      for (let i = 0; i < 16; i++) await readAll(disk.device, first * UNIT + i * 16 * 1024, 16 * 1024);
    expect(disk.store.requests).toEqual([]);
    // Elsewhere it is read ahead as ever.
    for (let i = 0; i < 8; i++) await readAll(disk.device, (100 + i) * UNIT, UNIT);
    expect(disk.store.requests.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(8 * UNIT);
  });

  it('is replaced by that of each boot', async () => {
    const bucket = await filled();
    await booted(bucket);
    await booted(bucket, someUnits(2));
    expect(await known(bucket, {}, someUnits(2))).toBe(BOOT.length);
  });

  it.each([
    ['it has not read the beginning of the disk', someUnits(3).slice(1).concat(1, 2)],
    ['it has read less than a MiB', BOOT.slice(0, 15)],
  ])('is not stored when the guest did not boot: %s', async (_why, units) => {
    const bucket = await filled();
    await booted(bucket);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    {
      await using disk = await opened(bucket, ON);
      await boot(disk.device, units);
      await vi.advanceTimersByTimeAsync(60_000);
      expect(words(disk)).toMatch(/not recorded: this was no boot$/);
      vi.useRealTimers();
      expect(disk.store.count('put', PROFILE)).toBe(0);
    }
    expect(await known(bucket)).toBe(BOOT.length);
  });

  it('is not stored, nor fetched any further, when what comes first is a write', async () => {
    const bucket = await filled();
    await booted(bucket);
    await using disk = await opened(bucket, { ...ON, maxRequests: 2 });
    const { promise, resolve } = Promise.withResolvers<void>();
    disk.store.gate = (operation) => (operation === 'read' ? promise : undefined);
    await expect.poll(() => disk.store.count('read'), { interval: 1 }).toBe(1);
    await disk.device.write!(0, [content(0)], 0);
    resolve();
    await expect.poll(() => words(disk), { interval: 1 }).toMatch(/^replayed .*; not recorded/);
    expect(disk.store.count('read')).toBe(1);
    await boot(disk.device);
    await disk.device[Symbol.asyncDispose]();
    expect(disk.store.count('put', PROFILE)).toBe(0);
  });

  it('is not replaced by that of a disk which was stopped while it booted', async () => {
    const bucket = await filled();
    await booted(bucket);
    const { store } = await booted(bucket, BOOT.slice(0, 31));
    expect(store.count('put', PROFILE)).toBe(0);
    expect((await booted(bucket)).store.count('put', PROFILE)).toBe(1);
  });

  it('is replayed, and not recorded, on a disk that is read-only, and where it says so', async () => {
    const bucket = await filled();
    await booted(bucket);
    for (const [options, open] of [
      [ON, { readOnly: true }],
      [REPLAY, {}],
    ] as const) {
      const disk = await opened(bucket, options, open);
      await replayed(disk);
      disk.store.requests.length = 0;
      await boot(disk.device);
      expect(disk.store.requests).toEqual([]);
      await boot(disk.device, someUnits(4));
      expect(words(disk)).toBe('replayed 2 MiB');
      await disk.device[Symbol.asyncDispose]();
      expect(disk.store.count('put', PROFILE)).toBe(0);
    }
  });

  it.each([
    ['damaged', (body: Buffer) => body.fill(0xee, 100)],
    ['cut off', (body: Buffer) => body.subarray(0, 50)],
    ['empty', () => Buffer.alloc(0)],
    ['far too large', () => Buffer.alloc(MIB)],
  ])('is done without when it is %s, and stored anew', async (_how, damage) => {
    const bucket = await filled();
    await booted(bucket);
    const there = bucket.objects.get(PROFILE)!;
    const body = damage(Buffer.from(there.body));
    bucket.objects.set(PROFILE, { body, info: { ...there.info, size: body.length } });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    {
      await using disk = await opened(bucket, ON);
      await boot(disk.device);
      await vi.advanceTimersByTimeAsync(60_000);
      vi.useRealTimers();
      await expect.poll(() => words(disk)).toMatch(/^(none to replay|not read); recorded 2 MiB$/);
      expect(disk.logger.lines.filter(({ level }) => level === 'error')).toEqual([]);
    }
    expect(await known(bucket)).toBe(BOOT.length);
  });

  it('does not stop a disk when the store does not give or take it', async () => {
    const bucket = await filled();
    await booted(bucket);
    const disk = await opened(bucket, ON);
    disk.store.gate = async (_operation, key) => {
      if (key === PROFILE) throw new StoreError('rejected', 'AccessDenied', { status: 403 });
    };
    await boot(disk.device);
    await disk.device.write!(0, [content(5)], 0);
    await disk.device.flush!(0);
    await disk.device[Symbol.asyncDispose]();
    disk.store.gate = undefined;
    await using again = await opened(bucket);
    expect(sameBytes(await readAll(again.device, 0, UNIT), content(5))).toBe(true);
  });

  it('ends with its disk, whatever is under way', async () => {
    const bucket = await filled();
    await booted(bucket);
    const disk = await opened(bucket, { ...ON, maxRequests: 2 });
    const { promise, resolve } = Promise.withResolvers<void>();
    disk.store.gate = (operation) => (operation === 'read' ? promise : undefined);
    await expect.poll(() => disk.store.count('read', '/log/'), { interval: 1 }).toBe(1);
    await disk.device[Symbol.asyncDispose]();
    resolve();
    await new Promise((done) => setTimeout(done, 5));
    expect(disk.store.count('read', '/log/')).toBe(1);
  });

  it('asks for a unit of many objects with as few requests at once as for any other', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket, { ...ON, spaceAmplification: 10 });
      for (let lba = 0; lba < 512; lba++) {
        await disk.device.write!(((lba * 37) % 512) * 4096, [pattern(4096, lba + 1)], 0);
        await disk.device.flush!(0);
      }
    }
    {
      await using disk = await opened(bucket, { ...ON, readCache: 0 });
      await nothing(disk);
      await readAll(disk.device, 0, 2 * MIB);
    }
    await using disk = await opened(bucket, { ...ON, maxRequests: 4, hedge: false });
    let [now, most] = [0, 0];
    disk.store.gate = async (operation) => {
      if (operation !== 'read') return;
      most = Math.max(most, ++now);
      await new Promise(setImmediate);
      now--;
    };
    await replayed(disk);
    expect(most).toBe(2);
    disk.store.requests.length = 0;
    await readAll(disk.device, 0, 2 * MIB);
    expect(disk.store.requests).toEqual([]);
  });

  it('of a clone is that of its parent until it has its own', async () => {
    const encryption = { encryption: keyFile('key') };
    for (const kind of [{}, encryption]) {
      const options = { ...ON, ...kind };
      const bucket = await filled(kind);
      await booted(bucket, BOOT, options);
      const clone = async (from: string, to: string) => {
        await operate(bucket, (operation) => createSnapshot(operation, 's'), { ...kind, prefix: from });
        const target = settings({ ...kind, prefix: to });
        await operate(bucket, (operation) => cloneVolume(operation, 's', target), { ...kind, prefix: from });
      };
      await clone('disks/a', 'disks/b');
      await clone('disks/b', 'disks/c');
      expect(await known(bucket, { ...kind, prefix: 'disks/c' })).toBe(BOOT.length);
      await booted(bucket, someUnits(2), { ...options, prefix: 'disks/b' });
      expect(bucket.objects.has('disks/b/boot-profile')).toBe(true);
      expect(await known(bucket, { ...kind, prefix: 'disks/c' }, someUnits(2))).toBe(BOOT.length);
      expect(await known(bucket, kind)).toBe(BOOT.length);
    }
  });

  it('of a volume that was there before is none of this one', async () => {
    const bucket = await filled();
    const body = encodeProfile(BOOT, '00000000-0000-4000-8000-000000000000', {
      name: PROFILE,
      key: undefined,
    });
    bucket.objects.set(PROFILE, { body, info: { etag: '"x"', size: body.length, metadata: {} } });
    await using disk = await opened(bucket, ON);
    await nothing(disk);
    expect(disk.logger.lines.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  it('belongs to its volume: a check does not mind it, and it is deleted with it', async () => {
    const bucket = await filled();
    await booted(bucket);
    const check = { data: true, repair: true, progress: () => undefined };
    const { findings } = await operate(bucket, (operation) => checkVolume(operation, check));
    expect(findings).toEqual([]);
    expect(bucket.objects.has(PROFILE)).toBe(true);
    await operate(bucket, (operation) =>
      deleteVolume(operation, { force: false, progress: () => undefined }),
    );
    expect([...bucket.objects.keys()]).toEqual([]);
  });

  it('is not for chunks', async () => {
    const bucket = await newVolume(MIB, { chunkSize: '64KiB' });
    await using disk = await opened(bucket, ON);
    expect(disk.logger.lines.map(({ message }) => message).join('\n')).toMatch(
      '"bootProfile" is for the layout "log"',
    );
  });
});
