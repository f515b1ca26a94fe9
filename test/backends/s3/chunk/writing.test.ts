import { afterEach, describe, expect, it, vi } from 'vitest';
import { StoreError } from '../../../../backends/s3/store/store-error.ts';
import { CHUNK, newVolume, pattern, sameBytes } from '../harness.ts';
import { expectTag, filled, hold, LINE, opened, settled } from './disk.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('writing', () => {
  it('of a whole chunk reads nothing', async () => {
    await using disk = await opened(await filled(1));
    await disk.device.write(0, [pattern(CHUNK, 5)]);
    await disk.device.flush();
    expect(disk.store.count('read')).toBe(0);
  });

  it('of a part of a chunk that does not exist reads nothing', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using disk = await opened(bucket);
    await disk.device.write(512, [pattern(512, 5)]);
    await disk.device.flush();
    expect(disk.store.requests.map(({ operation }) => operation)).toEqual(['put', 'put']);
  });

  it('of a part of a chunk reads only lines that are not replaced as a whole', async () => {
    await using disk = await opened(await filled(1));
    await disk.device.write(512, [pattern(14 * LINE, 5)]);
    await disk.device.flush();
    expect(disk.store.requests.filter(({ operation }) => operation === 'read')).toMatchObject([
      { bytes: LINE },
      { bytes: 2 * LINE },
    ]);
    await expectTag(disk.device, 0, 512, 1);
    await expectTag(disk.device, 512, 14 * LINE, 5);
    await expectTag(disk.device, 512 + 14 * LINE, 2 * LINE - 512, 1);
  });

  it('takes the data at once: the memory may change after the call', async () => {
    await using disk = await opened(await filled(1));
    const data = pattern(512, 5);
    await disk.device.write(0, [data]);
    data.fill(0xff);
    await expectTag(disk.device, 0, 512, 5);
  });

  it('to a chunk on its way to the store neither waits nor changes what is sent', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using disk = await opened(bucket);
    const release = hold(disk.store, 'put', 'chunk');
    await disk.device.write(0, [pattern(CHUNK, 1)]);
    const flushed = disk.device.flush();
    await settled();
    expect(disk.device.write(512, [pattern(512, 2)])).toBeUndefined();
    await expectTag(disk.device, 512, 512, 2);
    release();
    await flushed;
    expect(sameBytes(bucket.objects.get('disks/a/chunk/000000000000')!.body, pattern(CHUNK, 1))).toBe(true);
    await disk.device.flush();
    await expectTag(disk.device, 0, 512, 1);
    await expectTag(disk.device, 512, 512, 2);
  });

  it.each([
    ['of a new chunk', 0],
    ['of a chunk that was there', 1],
  ])('is not undone by an earlier request %s that arrives late', async (_which, chunks) => {
    await using disk = await opened(await filled(chunks, 4 * CHUNK));
    const arrive = disk.store.delayNextPut();
    for (const tag of [7, 8]) {
      await disk.device.write(0, [pattern(CHUNK, tag)]);
      await disk.device.flush();
    }
    arrive();
    expect(
      sameBytes(disk.store.bucket.objects.get('disks/a/chunk/000000000000')!.body, pattern(CHUNK, 8)),
    ).toBe(true);
  });

  it('waits when the buffer is full of what the store does not have, and goes on when it has', async () => {
    const { bucket } = await newVolume(16 * CHUNK);
    await using disk = await opened(bucket, { writeBuffer: 4 * CHUNK });
    const release = hold(disk.store, 'put');
    for (let i = 0; i < 4; i++) {
      expect(disk.device.write(i * CHUNK, [pattern(512, i + 1)])).toBeUndefined();
    }
    let written = false;
    const waiting = Promise.resolve(disk.device.write(4 * CHUNK, [pattern(512, 9)])).then(() => {
      written = true;
    });
    await settled();
    expect(written).toBe(false);
    release();
    await waiting;
    await expectTag(disk.device, 4 * CHUNK, 512, 9);
  });

  it('that waits for room fails when the room cannot come', async () => {
    const bucket = await filled(4, 8 * CHUNK);
    for (const key of bucket.objects.keys()) if (key.includes('chunk')) bucket.objects.delete(key);
    await using disk = await opened(bucket, { writeBuffer: 4 * CHUNK });
    for (let i = 0; i < 4; i++) await disk.device.write(i * CHUNK, [pattern(512, i)]);
    await expect(disk.device.write(4 * CHUNK, [pattern(512, 9)])).rejects.toThrow(
      'no room to buffer a write',
    );
  });

  it('whose memory is taken away while it waits for room leaves no trace, and the next one has its turn', async () => {
    const { bucket } = await newVolume(16 * CHUNK);
    await using disk = await opened(bucket, { writeBuffer: 4 * CHUNK });
    const release = hold(disk.store, 'put');
    for (let i = 0; i < 4; i++) await disk.device.write(i * CHUNK, [pattern(512, i + 1)]);
    const memory = pattern(512, 9);
    const late = Promise.resolve(disk.device.write(4 * CHUNK, [memory]));
    const next = disk.device.write(5 * CHUNK, [pattern(512, 10)]);
    (memory.buffer as ArrayBuffer).transfer(0);
    release();
    await expect(late).rejects.toMatchObject({ code: 'ESHUTDOWN' });
    await next;
    await disk.device.flush();
    await expectTag(disk.device, 4 * CHUNK, 512, 0);
    await expectTag(disk.device, 5 * CHUNK, 512, 10);
  });

  it('of zeros over a whole chunk leaves no object', async () => {
    const bucket = await filled(2);
    await using disk = await opened(bucket);
    await disk.device.write(0, [new Uint8Array(CHUNK)]);
    await disk.device.flush();
    await settled();
    expect(disk.store.keys('disks/a/chunk/')).toEqual(['disks/a/chunk/000000000001']);
    await expectTag(disk.device, 0, CHUNK, 0);
  });

  it('is stored after a while without a flush', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] });
    const { bucket } = await newVolume(4 * CHUNK);
    await using disk = await opened(bucket);
    await disk.device.write(0, [pattern(512, 1)]);
    expect(disk.store.requests).toEqual([]);
    await vi.advanceTimersByTimeAsync(5000);
    vi.useRealTimers();
    await vi.waitFor(() => expect(disk.store.count('put', 'map')).toBe(1));
  });
});

describe('a flush', () => {
  it('without changes asks nobody', async () => {
    await using disk = await opened(await filled(1));
    expect(disk.device.flush()).toBeUndefined();
    expect(disk.store.requests).toEqual([]);
  });

  it('stores the map after the chunks, and only when a chunk came into being', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using disk = await opened(bucket);
    await disk.device.write(0, [pattern(512, 1)]);
    await disk.device.write(CHUNK, [pattern(512, 1)]);
    await disk.device.flush();
    const puts = disk.store.requests.map(({ key }) => key.split('/')[2]);
    expect(puts).toEqual(['chunk', 'chunk', 'map']);
    disk.store.requests.length = 0;
    await disk.device.write(512, [pattern(512, 2)]);
    await disk.device.flush();
    expect(disk.store.requests.map(({ key }) => key.split('/')[2])).toEqual(['chunk']);
  });

  it('covers what was written before it, and flushes during it share the next one', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using disk = await opened(bucket);
    const release = hold(disk.store, 'put', 'map');
    await disk.device.write(0, [pattern(512, 1)]);
    const first = disk.device.flush();
    await settled();
    await disk.device.write(CHUNK, [pattern(512, 2)]);
    const others = [disk.device.flush(), disk.device.flush()];
    release();
    await Promise.all([first, ...others]);
    expect(disk.store.count('put', 'map')).toBe(2);
    expect(disk.store.keys('disks/a/chunk')).toHaveLength(2);
  });

  it('waits for a store that is away', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using disk = await opened(bucket);
    disk.store.broken = new StoreError('unreachable', 'ECONNREFUSED');
    await disk.device.write(0, [pattern(512, 1)]);
    let done = false;
    const flushed = Promise.resolve(disk.device.flush()).then(() => {
      done = true;
    });
    await vi.waitFor(() => expect(disk.store.requests.length).toBeGreaterThan(10));
    expect(done).toBe(false);
    disk.store.broken = undefined;
    await flushed;
    expect(disk.store.keys('disks/a/chunk')).toHaveLength(1);
  });

  it('fails when the store is given up, keeps the data, and succeeds later', async () => {
    const { bucket } = await newVolume(4 * CHUNK);
    await using disk = await opened(bucket, {}, {}, { giveUpAfterMs: 20 });
    disk.store.broken = new StoreError('unreachable', 'ECONNREFUSED');
    await disk.device.write(0, [pattern(512, 1)]);
    await expect(disk.device.flush()).rejects.toMatchObject({ code: 'ECONNLOST', retriable: true });
    await expectTag(disk.device, 0, 512, 1);
    disk.store.broken = undefined;
    await disk.device.flush();
    expect(disk.store.keys('disks/a/chunk')).toHaveLength(1);
  });

  it('fails while a chunk cannot be completed, and names it', async () => {
    const bucket = await filled(1);
    bucket.objects.delete('disks/a/chunk/000000000000');
    await using disk = await opened(bucket);
    await disk.device.write(0, [pattern(512, 1)]);
    await expect(disk.device.flush()).rejects.toThrow('disks/a/chunk/000000000000 is missing');
    await disk.device.write(0, [pattern(CHUNK, 2)]);
    await disk.device.flush();
    await expectTag(disk.device, 0, CHUNK, 2);
  });
});
