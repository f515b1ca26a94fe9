import { describe, expect, it } from 'vitest';
import { checkVolume } from '../../../../backends/s3/log/check/check-volume.ts';
import { flattenVolume } from '../../../../backends/s3/log/volume/flatten.ts';
import {
  cloneVolume,
  createSnapshot,
  deleteSnapshot,
} from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { deleteVolume, volumeInfo } from '../../../../backends/s3/volumes.ts';
import type { FakeBucket } from '../fake-store.ts';
import { MIB, pattern, readAll, sameBytes } from '../harness.ts';
import { newVolume, opened, operate, refusal, settings } from './disk.ts';
import { keyFile } from './key-files.ts';

const PAGE = 64 * MIB;
const SIZE = 3 * PAGE;
/** Where the parent has data: more than is copied at once, across two pages, and a little. */
const PARENT = [
  { at: PAGE - 10 * MIB, length: 20 * MIB, tag: 1 },
  { at: 2 * PAGE + 4096, length: MIB, tag: 2 },
] as const;
/** And what the clone has changed of it. */
const CLONE = [
  { at: PAGE - 5 * MIB, length: MIB, tag: 3 },
  { at: 0, length: MIB, tag: 4 },
] as const;

const write = async (
  bucket: FakeBucket,
  options: Record<string, unknown>,
  parts: readonly { readonly at: number; readonly length: number; readonly tag: number }[],
): Promise<void> => {
  await using disk = await opened(bucket, options);
  for (const { at, length, tag } of parts)
    for (let done = 0; done < length; done += MIB)
      await disk.device.write!(at + done, [pattern(Math.min(MIB, length - done), tag + done)], 0);
  await disk.device.flush!(0);
};

async function cloned(options: Record<string, unknown> = {}) {
  const bucket = await newVolume(SIZE, options);
  await write(bucket, options, PARENT);
  await operate(bucket, (operation) => createSnapshot(operation, 'one'), options);
  const clone = { ...options, prefix: 'disks/b' };
  await operate(bucket, (operation) => cloneVolume(operation, 'one', settings(clone)), options);
  await write(bucket, clone, CLONE);
  return { bucket, clone, options };
}

/** Everything that is in the clone, and zeros between. */
async function holds(bucket: FakeBucket, clone: Record<string, unknown>): Promise<boolean> {
  const expected = Buffer.alloc(SIZE);
  for (const { at, length, tag } of [...PARENT, ...CLONE])
    for (let done = 0; done < length; done += MIB)
      expected.set(pattern(Math.min(MIB, length - done), tag + done), at + done);
  await using disk = await opened(bucket, clone, { readOnly: true });
  for (let at = 0; at < SIZE; at += 16 * MIB)
    if (!sameBytes(await readAll(disk.device, at, 16 * MIB), expected.subarray(at, at + 16 * MIB)))
      return false;
  return true;
}

const check = (bucket: FakeBucket, options: Record<string, unknown>) =>
  operate(
    bucket,
    (operation) => checkVolume(operation, { data: true, repair: false, progress: () => undefined }),
    options,
  );

const flatten = (
  bucket: FakeBucket,
  clone: Record<string, unknown>,
  progress = (_done: number): void => {},
) => operate(bucket, (operation) => flattenVolume(operation, progress), clone);

/** As a person who needs the parent no more. */
const removeParent = async (bucket: FakeBucket, options: Record<string, unknown>): Promise<void> => {
  await operate(bucket, (operation) => deleteSnapshot(operation, 'one'), options);
  await operate(
    bucket,
    (operation) => deleteVolume(operation, { force: false, progress: () => undefined }),
    options,
  );
};

describe('a clone that is flattened', () => {
  it.each<[string, () => Record<string, unknown>]>([
    ['', () => ({})],
    [', compressed and encrypted', () => ({ compression: 'zstd', encryption: keyFile('flatten') })],
  ])('needs its parent no more%s', async (_how, options) => {
    const { bucket, clone } = await cloned(options());
    const before = { ...clone };
    expect(await refusal(removeParent(bucket, { ...before, prefix: 'disks/a' }))).toMatchObject({
      code: 'volume.has-clones',
    });
    expect((await flatten(bucket, clone)).details).not.toHaveProperty('clone');
    expect(await holds(bucket, clone)).toBe(true);
    await removeParent(bucket, { ...before, prefix: 'disks/a' });
    expect([...bucket.objects.keys()].every((key) => key.startsWith('disks/b/'))).toBe(true);
    expect(await holds(bucket, clone)).toBe(true);
    expect((await check(bucket, clone)).findings).toEqual([]);
    await write(bucket, clone, CLONE);
    expect(await holds(bucket, clone)).toBe(true);
    expect((await operate(bucket, volumeInfo, clone)).used).toBe(22 * MIB);
  });

  it('goes on where it was interrupted', async () => {
    const { bucket, clone } = await cloned();
    const stop = (done: number): void => {
      if (done === 2) throw new Error('interrupted');
    };
    await expect(flatten(bucket, clone, stop)).rejects.toThrow('interrupted');
    expect(await holds(bucket, clone)).toBe(true);
    expect((await check(bucket, clone)).findings).toEqual([]);
    await flatten(bucket, clone);
    // Once more is nothing.
    await flatten(bucket, clone);
    await removeParent(bucket, {});
    expect(await holds(bucket, clone)).toBe(true);
    expect((await check(bucket, clone)).findings).toEqual([]);
  });

  it('has no snapshots that need the parent', async () => {
    const { bucket, clone } = await cloned();
    await operate(bucket, (operation) => createSnapshot(operation, 'of-the-clone'), clone);
    expect(await refusal(flatten(bucket, clone))).toMatchObject({
      code: 'volume.needs-parent',
      why: expect.stringContaining('"of-the-clone"'),
    });
    await operate(bucket, (operation) => deleteSnapshot(operation, 'of-the-clone'), clone);
    await flatten(bucket, clone);
    await operate(bucket, (operation) => createSnapshot(operation, 'later'), clone);
    await removeParent(bucket, {});
    expect((await check(bucket, clone)).findings).toEqual([]);
  });

  it('is refused where a disk has it open, which can do that itself', async () => {
    const { bucket, clone } = await cloned();
    await using _disk = await opened(bucket, clone);
    expect(await refusal(flatten(bucket, clone))).toMatchObject({
      code: 'volume.owned',
      fix: expect.stringContaining('"flatten": true'),
    });
  });

  it('is refused where there is no parent', async () => {
    const bucket = await newVolume(SIZE);
    expect(await refusal(flatten(bucket, {}))).toMatchObject({ code: 'volume.unsupported' });
  });
});
