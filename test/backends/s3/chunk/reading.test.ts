import { describe, expect, it } from 'vitest';
import { CHUNK, KIB, newVolume, pattern, readAll } from '../harness.ts';
import { expectTag, filled, hold, LINE, opened, settled } from './disk.ts';

describe('reading', () => {
  it('of what was never written asks nobody', async () => {
    const { bucket } = await newVolume(2 ** 40);
    await using disk = await opened(bucket);
    await expectTag(disk.device, 2 ** 39, 256 * KIB, 0);
    expect(disk.store.requests).toEqual([]);
  });

  it('of a few sectors fetches their line, not the chunk', async () => {
    await using disk = await opened(await filled(2));
    await expectTag(disk.device, CHUNK + 3 * LINE + 512, 1024, 2);
    expect(disk.store.requests.map(({ operation, bytes }) => [operation, bytes])).toEqual([['read', LINE]]);
  });

  it('of a line that is in memory asks nobody', async () => {
    await using disk = await opened(await filled(1));
    await expectTag(disk.device, LINE, 512, 1);
    await expectTag(disk.device, LINE + 512, 512, 1);
    expect(disk.store.count('read')).toBe(1);
  });

  it('of the same line by many is one request', async () => {
    await using disk = await opened(await filled(1));
    await Promise.all([6, 4, 2, 0].map((i) => expectTag(disk.device, LINE + i * 512, 512, 1)));
    expect(disk.store.count('read')).toBe(1);
  });

  it('in sequence has the next chunks fetched ahead', async () => {
    await using disk = await opened(await filled(8), { readCache: 32 * CHUNK });
    await expectTag(disk.device, 0, 4 * KIB, 1);
    await expectTag(disk.device, 4 * KIB, 4 * KIB, 1);
    await settled();
    const chunks = disk.store.requests.filter(({ bytes }) => bytes === CHUNK).map(({ key }) => key.at(-1));
    expect(chunks).toEqual(['1', '2', '3', '4']);
  });

  it('keeps no more in memory than it may', async () => {
    await using disk = await opened(await filled(4), { readCache: 16 * LINE });
    for (let line = 0; line < 32; line += 2) await expectTag(disk.device, line * LINE, 512, 1 + (line >> 4));
    disk.store.requests.length = 0;
    for (let line = 32; line < 64; line += 2) await expectTag(disk.device, line * LINE, 512, 1 + (line >> 4));
    await expectTag(disk.device, 0, 512, 1);
    expect(disk.store.count('read')).toBe(17);
  });

  it('of a chunk that was deleted behind our back fails, and is reported once', async () => {
    const bucket = await filled(2);
    bucket.objects.delete('disks/a/chunk/000000000001');
    await using disk = await opened(bucket);
    const read = () => readAll(disk.device, CHUNK, 512);
    await expect(read()).rejects.toMatchObject({ code: 'EIO' });
    await expect(read()).rejects.toThrow('disks/a/chunk/000000000001 is missing from the bucket');
    expect(disk.logger.lines).toMatchObject([
      {
        level: 'error',
        message: 'a chunk is missing from the bucket; the guest sees EIO',
        fields: { key: 'disks/a/chunk/000000000001', offset: CHUNK, length: CHUNK },
      },
    ]);
    await expectTag(disk.device, 0, 512, 1);
  });

  it.each([
    [
      'changed',
      (body: Buffer) => Buffer.concat([Buffer.from([9]), body.subarray(1)]),
      'checksum of its line 0',
    ],
    ['cut short', (body: Buffer) => body.subarray(0, 100), 'it has 100 bytes instead of 65536'],
  ])('of a chunk that was %s fails', async (_how, damage, message) => {
    const bucket = await filled(1);
    const key = 'disks/a/chunk/000000000000';
    const { body, info } = bucket.objects.get(key)!;
    const damaged = damage(body);
    bucket.objects.set(key, { body: damaged, info: { ...info, size: damaged.length } });
    await using disk = await opened(bucket);
    await expect(readAll(disk.device, 0, 512)).rejects.toThrow(message);
  });

  it('of a chunk that is discarded meanwhile gives zeros or what was there, not an error', async () => {
    await using disk = await opened(await filled(1));
    const release = hold(disk.store, 'read');
    const read = readAll(disk.device, 0, 512);
    disk.device.discard(0, CHUNK);
    await disk.device.flush();
    release();
    expect([0, 1]).toContain(new Uint32Array((await read).buffer)[0]);
  });

  it('sees what is only in memory, above what is stored', async () => {
    await using disk = await opened(await filled(1));
    await disk.device.write(1024, [pattern(512, 7)]);
    await expectTag(disk.device, 512, 512, 1);
    await expectTag(disk.device, 1024, 512, 7);
    await expectTag(disk.device, 1536, 512, 1);
  });
});

describe('prefetch', () => {
  it('fetches what is asked for, in whole lines, and reads then ask nobody', async () => {
    await using disk = await opened(await filled(3), { readCache: 32 * CHUNK });
    await disk.device.prefetch(LINE - 512, CHUNK + 1024);
    const asked = disk.store.requests.map(({ operation, bytes }) => [operation, bytes / LINE]);
    expect(asked).toEqual([
      ['read', 16],
      ['read', 2],
    ]);
    await expectTag(disk.device, CHUNK, 2 * LINE, 2);
    await expectTag(disk.device, 0, CHUNK, 1);
    await disk.device.prefetch(0, CHUNK);
    expect(disk.store.count('read')).toBe(2);
  });

  it('asks nobody for what was never written, or is in memory', async () => {
    const { bucket } = await newVolume(64 * CHUNK);
    await using disk = await opened(bucket, { readCache: 32 * CHUNK });
    await disk.device.write(CHUNK, [pattern(512, 7)]);
    await disk.device.prefetch(0, 8 * CHUNK);
    expect(disk.store.requests).toEqual([]);
    await expectTag(disk.device, CHUNK, 512, 7);
  });

  it('takes a part of the memory for reads and no more, a few chunks at a time', async () => {
    await using disk = await opened(await filled(16), { readCache: 32 * CHUNK });
    const release = hold(disk.store, 'read');
    const prefetch = disk.device.prefetch(0, 16 * CHUNK);
    await settled();
    expect(disk.store.count('read')).toBe(4);
    release();
    await prefetch;
    expect(disk.store.requests.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(8 * CHUNK);
  });

  it('does nothing with hardly any memory for reads', async () => {
    await using disk = await opened(await filled(1), { readCache: 2 * LINE });
    await disk.device.prefetch(0, CHUNK);
    expect(disk.store.requests).toEqual([]);
  });

  it('of a chunk that was deleted behind our back fails, and what is written is there all the same', async () => {
    const bucket = await filled(2);
    bucket.objects.delete('disks/a/chunk/000000000001');
    await using disk = await opened(bucket, { readCache: 32 * CHUNK });
    await expect(disk.device.prefetch(0, 2 * CHUNK)).rejects.toMatchObject({ code: 'EIO' });
    await expectTag(disk.device, 0, CHUNK, 1);
  });

  it('of a chunk that is written or discarded meanwhile leaves nothing old behind', async () => {
    await using disk = await opened(await filled(2), { readCache: 32 * CHUNK });
    const release = hold(disk.store, 'read');
    const prefetch = disk.device.prefetch(0, 2 * CHUNK);
    await disk.device.write(0, [pattern(CHUNK, 9)]);
    disk.device.discard(CHUNK, CHUNK);
    await disk.device.flush();
    release();
    await prefetch;
    await expectTag(disk.device, 0, CHUNK, 9);
    await expectTag(disk.device, CHUNK, CHUNK, 0);
  });
});

describe('extents', () => {
  it('are data where chunks exist, stored or not, and holes elsewhere', async () => {
    await using disk = await opened(await filled(1, 4 * CHUNK));
    await disk.device.write(CHUNK, [pattern(512, 1)]);
    expect(disk.device.extents(512, 4 * CHUNK - 512)).toEqual([
      { offset: 512, length: 2 * CHUNK - 512, kind: 'data' },
      { offset: 2 * CHUNK, length: 2 * CHUNK, kind: 'hole' },
    ]);
  });
});
