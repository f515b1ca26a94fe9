import { afterEach, describe, expect, it, vi } from 'vitest';
import { attach } from '../../../backends/s3/attach.ts';
import type { ChunkDevice } from '../../../backends/s3/device.ts';
import type { RetryPolicy } from '../../../backends/s3/retrying-store.ts';
import { StoreError } from '../../../backends/s3/store-error.ts';
import type { OpenContext } from '../../../core/plugin.ts';
import { type FakeBucket, FakeStore } from './fake-store.ts';
import { CHUNK, config, context, HASTE, KIB, newVolume, pattern, readAll, sameBytes } from './harness.ts';

const LINE = CHUNK / 16;

/** A device on a store that counts its requests from the moment at which the device is open. */
async function opened(
  bucket: FakeBucket,
  options: Record<string, unknown> = {},
  open: Partial<OpenContext> = {},
  policy: Partial<RetryPolicy> = {},
) {
  const store = new FakeStore(bucket);
  const ctx = context(open);
  const device = await attach(store, config(options), ctx, { ...HASTE, ...policy });
  store.requests.length = 0;
  const cleanup: AsyncDisposable = {
    async [Symbol.asyncDispose]() {
      store.gate = undefined;
      store.broken = undefined;
      await device[Symbol.asyncDispose]();
    },
  };
  return { store, ctx, device, logger: ctx.logger, ...cleanup };
}

/** A volume whose chunks 0, 1, … hold the tags 1, 2, … */
async function filled(chunks: number, size = chunks * CHUNK): Promise<FakeBucket> {
  const { bucket } = await newVolume(size);
  await using disk = await opened(bucket);
  for (let i = 0; i < chunks; i++) await disk.device.write(i * CHUNK, [pattern(CHUNK, i + 1)]);
  await disk.device.flush();
  return bucket;
}

/** Holds requests of one kind until released. */
function hold(store: FakeStore, operation: string, part = ''): () => void {
  const gate = Promise.withResolvers<void>();
  store.gate = (name, key) => (name === operation && key.includes(part) ? gate.promise : undefined);
  return () => {
    store.gate = undefined;
    gate.resolve();
  };
}

async function expectTag(device: ChunkDevice, offset: number, length: number, tag: number): Promise<void> {
  expect(sameBytes(await readAll(device, offset, length), pattern(length, tag)), `at ${offset}`).toBe(true);
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

afterEach(() => {
  vi.useRealTimers();
});

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
