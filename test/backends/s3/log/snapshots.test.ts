import { describe, expect, it } from 'vitest';
import { type S3Config, s3Config } from '../../../../backends/s3/config.ts';
import {
  cloneVolume,
  createSnapshot,
  deleteSnapshot,
  listSnapshots,
  rollbackVolume,
} from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import { type Operation, withStore } from '../../../../backends/s3/operation.ts';
import { createVolume, deleteVolume, volumeInfo } from '../../../../backends/s3/volumes.ts';
import type { BlockDevice } from '../../../../core/plugin.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE, MIB, pattern, readAll, sameBytes } from '../harness.ts';

function settings(prefix: string, size?: number): S3Config {
  return s3Config.parse({ bucket: 'bucket', prefix, ...(size && { size }) });
}

function on<T>(bucket: FakeBucket, prefix: string, run: (operation: Operation) => Promise<T>): Promise<T> {
  return withStore(new FakeStore(bucket), settings(prefix), context(), run);
}

async function newVolume(): Promise<FakeBucket> {
  const bucket = new FakeBucket();
  await withStore(new FakeStore(bucket), settings('a', 64 * MIB), context(), createVolume);
  return bucket;
}

/** Opens the volume, for as long as `use` lasts. */
async function withDisk<T>(
  bucket: FakeBucket,
  prefix: string,
  use: (device: BlockDevice) => Promise<T>,
): Promise<T> {
  const device = await openVolume(new FakeStore(bucket), settings(prefix), context(), HASTE);
  await using _device = device;
  return await use(device);
}

const write = (bucket: FakeBucket, prefix: string, at: number, tag: number) =>
  withDisk(bucket, prefix, async (device) => {
    await device.write!(at, [pattern(MIB, tag)], 0);
    await device.flush!(0);
  });

const holds = (bucket: FakeBucket, prefix: string, at: number, tag: number) =>
  withDisk(bucket, prefix, async (device) =>
    sameBytes(await readAll(device, at, MIB), tag === 0 ? new Uint8Array(MIB) : pattern(MIB, tag)),
  );

const remove = (operation: Operation) => deleteVolume(operation, { force: false, progress: () => {} });

describe('snapshots of a log', () => {
  it('hold what the volume held, and can be gone back to and away from again', async () => {
    const bucket = await newVolume();
    await write(bucket, 'a', 0, 1);
    await on(bucket, 'a', (operation) => createSnapshot(operation, 'first'));
    await write(bucket, 'a', 0, 2);
    await write(bucket, 'a', 8 * MIB, 3);
    const kept = await on(bucket, 'a', (operation) => rollbackVolume(operation, 'first'));
    expect(await holds(bucket, 'a', 0, 1)).toBe(true);
    expect(await holds(bucket, 'a', 8 * MIB, 0)).toBe(true);
    await write(bucket, 'a', MIB, 4);
    await on(bucket, 'a', (operation) => rollbackVolume(operation, kept.name));
    expect(await holds(bucket, 'a', 0, 2)).toBe(true);
    expect(await holds(bucket, 'a', MIB, 0)).toBe(true);
    expect(await holds(bucket, 'a', 8 * MIB, 3)).toBe(true);
    expect((await on(bucket, 'a', listSnapshots)).map(({ name }) => name)).toContain('first');
  });

  it('take one request besides those for the head', async () => {
    const bucket = await newVolume();
    await write(bucket, 'a', 0, 1);
    const store = new FakeStore(bucket);
    await withStore(store, settings('a'), context(), (operation) => createSnapshot(operation, 'one'));
    const written = store.requests.filter(
      ({ operation, key }) => operation === 'put' && !key.endsWith('head'),
    );
    expect(written).toHaveLength(1);
  });

  it('are refused twice under one name, and for names that are not there', async () => {
    const bucket = await newVolume();
    await on(bucket, 'a', (operation) => createSnapshot(operation, 'one'));
    await expect(on(bucket, 'a', (operation) => createSnapshot(operation, 'one'))).rejects.toMatchObject({
      code: 'volume.snapshot-exists',
    });
    for (const run of [rollbackVolume, deleteSnapshot])
      await expect(
        on(bucket, 'a', async (operation) => {
          await run(operation, 'two');
        }),
      ).rejects.toMatchObject({
        code: 'volume.snapshot-not-found',
      });
  });

  it('keep what is overwritten until they are deleted', async () => {
    const bucket = await newVolume();
    const stored = () => [...bucket.objects.values()].reduce((sum, { body }) => sum + body.length, 0);
    await withDisk(bucket, 'a', async (device) => {
      for (let at = 0; at < 40 * MIB; at += MIB) await device.write!(at, [pattern(MIB, 7)], 0);
      await device.flush!(0);
    });
    await on(bucket, 'a', (operation) => createSnapshot(operation, 'full'));
    await withDisk(bucket, 'a', async (device) => {
      await device.discard!(0, 64 * MIB, 0);
      await device.flush!(0);
    });
    expect(stored()).toBeGreaterThan(40 * MIB);
    await on(bucket, 'a', (operation) => deleteSnapshot(operation, 'full'));
    expect(stored()).toBeLessThan(MIB);
  });
});

describe('a snapshot of a disk in use', () => {
  it('has all that was written before, and nothing of what comes after', async () => {
    const bucket = await newVolume();
    await withDisk(bucket, 'a', async (device) => {
      await device.write!(0, [pattern(MIB, 1)], 0);
      const info = await device.snapshot!('live');
      expect(info).toMatchObject({ name: 'live', size: 64 * MIB });
      await device.write!(0, [pattern(MIB, 2)], 0);
      await device.flush!(0);
      await expect(device.snapshot!('live')).rejects.toMatchObject({ code: 'volume.snapshot-exists' });
      const twins = await Promise.allSettled([device.snapshot!('twin'), device.snapshot!('twin')]);
      expect(twins.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
      expect(sameBytes(await readAll(device, 0, MIB), pattern(MIB, 2))).toBe(true);
    });
    await on(bucket, 'a', (operation) => cloneVolume(operation, 'live', settings('b')));
    expect(await holds(bucket, 'b', 0, 1)).toBe(true);
    expect(await holds(bucket, 'a', 0, 2)).toBe(true);
  });
});

describe('a clone', () => {
  it('begins as the snapshot is, goes its own way, and keeps the snapshot', async () => {
    const bucket = await newVolume();
    await write(bucket, 'a', 0, 1);
    await on(bucket, 'a', (operation) => createSnapshot(operation, 'base'));
    await write(bucket, 'a', 0, 2);
    const info = await on(bucket, 'a', (operation) => cloneVolume(operation, 'base', settings('b')));
    expect(info).toMatchObject({ name: 'b', size: 64 * MIB, details: { clone: 'of "base" of a' } });
    expect(await holds(bucket, 'b', 0, 1)).toBe(true);
    await write(bucket, 'b', MIB, 3);
    expect(await holds(bucket, 'a', MIB, 0)).toBe(true);
    expect(await holds(bucket, 'b', 0, 1)).toBe(true);
    expect((await on(bucket, 'b', volumeInfo)).used).toBe(2 * MIB);

    const hasClones = { code: 'volume.has-clones' };
    await expect(on(bucket, 'a', (operation) => deleteSnapshot(operation, 'base'))).rejects.toMatchObject(
      hasClones,
    );
    await expect(on(bucket, 'a', remove)).rejects.toMatchObject(hasClones);
    // The refusal has left no mark: it can be cloned again.
    await on(bucket, 'a', (operation) => cloneVolume(operation, 'base', settings('c')));
    for (const clone of ['b', 'c']) await on(bucket, clone, remove);
    await on(bucket, 'a', (operation) => deleteSnapshot(operation, 'base'));
    await on(bucket, 'a', remove);
    expect([...bucket.objects.keys()]).toEqual([]);
  });

  it.each([
    ['the volume', remove],
    ['the snapshot', (operation: Operation) => deleteSnapshot(operation, 'base')],
  ])(
    'is either made or not, and then leaves nothing, while %s is deleted, at whichever request',
    async (_name, run) => {
      let [made, refused] = [0, 0];
      for (let at = 1; ; at++) {
        const bucket = await newVolume();
        await write(bucket, 'a', 0, 1);
        await on(bucket, 'a', (operation) => createSnapshot(operation, 'base'));
        const store = new FakeStore(bucket);
        let deletion: Promise<unknown> | undefined;
        // Before request `at` of the clone, all of the deletion happens.
        store.gate = async () => {
          if (store.requests.length !== at) return;
          deletion = on(bucket, 'a', async (operation) => void (await run(operation)));
          await deletion.catch(() => undefined);
        };
        const clone = withStore(store, settings('a'), context(), (operation) =>
          cloneVolume(operation, 'base', settings('b')),
        );
        const isMade = await clone.then(
          () => true,
          () => false,
        );
        if (deletion === undefined) break;
        if (isMade) {
          made++;
          await expect(deletion).rejects.toMatchObject({ code: 'volume.has-clones' });
          expect(await holds(bucket, 'b', 0, 1)).toBe(true);
        } else {
          refused++;
          await deletion;
          expect(
            [...bucket.objects.keys()].filter((key) => key.startsWith('b/') || key.includes('/refs/')),
          ).toEqual([]);
        }
      }
      expect(made).toBeGreaterThan(0);
      expect(refused).toBeGreaterThan(0);
    },
  );

  it('is either made or refused while its request comes between those of a deletion', async () => {
    for (let at = 1; ; at++) {
      const bucket = await newVolume();
      await write(bucket, 'a', 0, 1);
      await on(bucket, 'a', (operation) => createSnapshot(operation, 'base'));
      const store = new FakeStore(bucket);
      let clone: Promise<boolean> | undefined;
      store.gate = async () => {
        if (store.requests.length !== at) return;
        clone = on(bucket, 'a', (operation) => cloneVolume(operation, 'base', settings('b'))).then(
          () => true,
          () => false,
        );
        await clone;
      };
      const isGone = await withStore(store, settings('a'), context(), remove).then(
        () => true,
        () => false,
      );
      if (clone === undefined) break;
      expect(await clone).toBe(!isGone);
      if (!isGone) expect(await holds(bucket, 'b', 0, 1)).toBe(true);
    }
  });

  it('is not made in another bucket, nor where there is a volume', async () => {
    const bucket = await newVolume();
    await on(bucket, 'a', (operation) => createSnapshot(operation, 'base'));
    const elsewhere = { ...settings('b'), bucket: 'other' };
    await expect(
      on(bucket, 'a', (operation) => cloneVolume(operation, 'base', elsewhere)),
    ).rejects.toMatchObject({
      code: 'volume.unsupported',
    });
    await expect(
      on(bucket, 'a', (operation) => cloneVolume(operation, 'base', settings('a'))),
    ).rejects.toMatchObject({
      code: 'volume.exists',
    });
    await expect(
      on(bucket, 'a', (operation) => cloneVolume(operation, 'none', settings('b'))),
    ).rejects.toMatchObject({
      code: 'volume.snapshot-not-found',
    });
    expect([...bucket.objects.keys()].filter((key) => key.includes('/refs/'))).toEqual([]);
  });
});
