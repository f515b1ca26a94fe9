import { describe, expect, it, vi } from 'vitest';
import { FakeStore } from '../fake-store.ts';
import { CHUNK, newVolume, pattern, readAll, sameBytes } from '../harness.ts';
import { expectTag, filled, hold, opened, settled } from './disk.ts';

describe('discarding', () => {
  it('costs nothing for chunks that do not exist', async () => {
    const { bucket } = await newVolume(2 ** 40);
    await using disk = await opened(bucket);
    disk.device.discard(0, 2 ** 40);
    expect(disk.device.flush()).toBeUndefined();
    expect(disk.store.requests).toEqual([]);
  });

  it('deletes objects only after the map is stored, many with one request', async () => {
    await using disk = await opened(await filled(4));
    disk.device.discard(0, 4 * CHUNK);
    await expectTag(disk.device, 0, 4 * CHUNK, 0);
    await disk.device.flush();
    await settled();
    expect(disk.store.requests.map(({ operation }) => operation)).toEqual(['put', 'delete']);
    expect(disk.store.keys('disks/a/chunk')).toEqual([]);
  });

  it('of the short last chunk of a disk deletes it', async () => {
    const bucket = await filled(1, CHUNK + 512);
    await using disk = await opened(bucket);
    await disk.device.write(CHUNK, [pattern(512, 2)]);
    await disk.device.flush();
    disk.device.discard(CHUNK, 512);
    await disk.device.flush();
    await settled();
    expect(disk.store.keys('disks/a/chunk')).toEqual(['disks/a/chunk/000000000000']);
  });

  it('of a part of a chunk leaves it as it is', async () => {
    await using disk = await opened(await filled(1));
    disk.device.discard(512, CHUNK - 512);
    expect(disk.device.flush()).toBeUndefined();
    await expectTag(disk.device, 0, CHUNK, 1);
  });

  it('of a chunk on its way to the store deletes it afterwards', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using disk = await opened(bucket);
    const release = hold(disk.store, 'put', 'chunk');
    await disk.device.write(0, [pattern(CHUNK, 1)]);
    await settled();
    disk.device.discard(0, CHUNK);
    await expectTag(disk.device, 0, CHUNK, 0);
    release();
    await disk.device.flush();
    await vi.waitFor(() => expect(disk.store.keys('disks/a/chunk')).toEqual([]));
    await expectTag(disk.device, 0, CHUNK, 0);
  });

  it('and writing again while the object is being deleted keeps what was written', async () => {
    await using disk = await opened(await filled(1));
    const release = hold(disk.store, 'delete');
    disk.device.discard(0, CHUNK);
    await disk.device.flush();
    await disk.device.write(0, [pattern(CHUNK, 8)]);
    const flushed = disk.device.flush();
    await settled();
    release();
    await flushed;
    expect(disk.store.keys('disks/a/chunk')).toHaveLength(1);
    await expectTag(disk.device, 0, CHUNK, 8);
  });

  it('leaves to the next start what it had no time to delete', async () => {
    const bucket = await filled(2);
    {
      await using disk = await opened(bucket);
      const store = disk.store;
      store.deleteMany = async (keys) => keys.map((key) => ({ key, reason: 'AccessDenied' }));
      disk.device.discard(0, 2 * CHUNK);
      await disk.device.flush();
    }
    expect(new FakeStore(bucket).keys('disks/a/chunk')).toHaveLength(2);
    await using disk = await opened(bucket);
    await vi.waitFor(() => expect(disk.store.keys('disks/a/chunk')).toEqual([]));
  });
});

describe('write-zeroes', () => {
  it.each([
    ['inside a chunk', 512, 1024],
    ['over a border', CHUNK - 512, 1024],
    ['a whole chunk', CHUNK, CHUNK],
    ['parts and wholes', 512, 3 * CHUNK],
    ['to the end', 2 * CHUNK + 512, 2 * CHUNK - 512],
    ['everything', 0, 4 * CHUNK],
  ])('zeroes %s and nothing else', async (_what, offset, length) => {
    const bucket = await filled(4);
    const expected = new Uint8Array(4 * CHUNK);
    for (let i = 0; i < 4; i++) expected.set(pattern(CHUNK, i + 1), i * CHUNK);
    expected.fill(0, offset, offset + length);
    {
      await using disk = await opened(bucket);
      await disk.device.writeZeroes(offset, length);
      expect(sameBytes(await readAll(disk.device, 0, 4 * CHUNK), expected)).toBe(true);
      await disk.device.flush();
    }
    await using disk = await opened(bucket);
    expect(sameBytes(await readAll(disk.device, 0, 4 * CHUNK), expected)).toBe(true);
  });

  it('takes no room where there are zeros already', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using disk = await opened(bucket);
    await disk.device.writeZeroes(512, 1024);
    expect(disk.device.flush()).toBeUndefined();
  });
});
