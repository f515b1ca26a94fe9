import { describe, expect, it } from 'vitest';
import { withWriter } from '../../../../backends/s3/log/volume/with-writer.ts';
import { withStore } from '../../../../backends/s3/operation.ts';
import { StoreError } from '../../../../backends/s3/store/store-error.ts';
import { createVolume, deleteVolume, resizeVolume, volumeInfo } from '../../../../backends/s3/volumes.ts';
import { FakeStore } from '../fake-store.ts';
import { context, KIB, MIB, pattern, readAll, sameBytes } from '../harness.ts';
import { BLOCK, newVolume, opened, operate, refusal, settings } from './disk.ts';

describe('a volume with the layout log', () => {
  it('holds after a restart what was written', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(BLOCK, 1)], 0);
      await disk.device.write!(8 * MIB, [pattern(3 * MIB, 2)], 0);
      await disk.device.flush!(0);
    }
    await using disk = await opened(bucket);
    expect(sameBytes(await readAll(disk.device, 0, BLOCK), pattern(BLOCK, 1))).toBe(true);
    expect(sameBytes(await readAll(disk.device, 8 * MIB, 3 * MIB), pattern(3 * MIB, 2))).toBe(true);
    expect(sameBytes(await readAll(disk.device, MIB, MIB), new Uint8Array(MIB))).toBe(true);
  });

  it('needs one request for a flush, none for one that has nothing to do, and none when it is idle', async () => {
    await using disk = await opened(await newVolume());
    for (let i = 0; i < 10; i++) {
      await disk.device.write!(i * BLOCK, [pattern(BLOCK, i + 1)], 0);
      await disk.device.flush!(0);
      await disk.device.flush!(0);
    }
    expect(disk.store.requests.map(({ operation }) => operation)).toEqual(new Array(10).fill('put'));
  });

  it('shares an object between flushes of one moment', async () => {
    await using disk = await opened(await newVolume());
    const flushes: unknown[] = [];
    for (let i = 0; i < 64; i++) {
      disk.device.write!(i * BLOCK, [pattern(BLOCK, i + 1)], 0);
      flushes.push(disk.device.flush!(0));
    }
    await Promise.all(flushes);
    expect(disk.store.requests.length).toBeLessThan(10);
  });

  it('discards all of a large disk with one object', async () => {
    const bucket = await newVolume(2 * 2 ** 40);
    await using disk = await opened(bucket);
    await disk.device.write!(2 ** 40, [pattern(MIB, 1)], 0);
    await disk.device.flush!(0);
    disk.store.requests.length = 0;
    expect(await disk.device.extents!(0, 2 * 2 ** 40)).toHaveLength(3);
    await disk.device.discard!(0, 2 * 2 ** 40, 0);
    await disk.device.flush!(0);
    expect(disk.store.requests).toHaveLength(1);
    expect(disk.store.requests[0]!.bytes).toBeLessThan(1000);
    expect(sameBytes(await readAll(disk.device, 2 ** 40, MIB), new Uint8Array(MIB))).toBe(true);
    expect(await disk.device.extents!(0, 2 * 2 ** 40)).toEqual([
      { offset: 0, length: 2 * 2 ** 40, kind: 'hole' },
    ]);
  });

  it('refuses a second gateway, and fails closed when the volume is taken over', async () => {
    const bucket = await newVolume();
    await using first = await opened(bucket);
    await first.device.write!(0, [pattern(BLOCK, 1)], 0);
    await first.device.flush!(0);
    expect((await refusal(opened(bucket))).code).toBe('volume.owned');
    await using second = await opened(bucket, {}, { takeOver: true });
    await first.device.write!(0, [pattern(BLOCK, 2)], 0);
    await expect((async () => first.device.flush!(0))()).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('FENCED'),
    });
    expect(first.device.status!()).toMatchObject({ state: 'FENCED' });
    expect(() => first.device.read(0, [new Uint8Array(BLOCK)], 0)).toThrow('FENCED');
    expect(sameBytes(await readAll(second.device, 0, BLOCK), pattern(BLOCK, 1))).toBe(true);
  });

  it('answers with an error, never with zeros, when an object is missing or damaged', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(BLOCK, 1)], 0);
      await disk.device.flush!(0);
      await disk.device.write!(BLOCK, [pattern(BLOCK, 2)], 0);
      await disk.device.flush!(0);
    }
    await using disk = await opened(bucket);
    const [first, second] = disk.store.keys('disks/a/log/');
    bucket.objects.delete(first!);
    const { body } = bucket.objects.get(second!)!;
    body[body.length - 1]! ^= 1;
    const read = (at: number) => (async () => disk.device.read(at, [new Uint8Array(BLOCK)], 0))();
    await expect(read(0)).rejects.toMatchObject({ code: 'EIO', message: expect.stringContaining('missing') });
    await expect(read(BLOCK)).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('checksums'),
    });
  });

  it('fetches ahead what only the store has, once', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(MIB, 1)], 0);
      await disk.device.flush!(0);
    }
    await using disk = await opened(bucket);
    await disk.device.write!(MIB, [pattern(BLOCK, 2)], 0);
    await disk.device.prefetch!(512, MIB);
    const asked = disk.store.count('read');
    expect(asked).toBeGreaterThan(0);
    expect(sameBytes(await readAll(disk.device, 0, MIB), pattern(MIB, 1))).toBe(true);
    await disk.device.prefetch!(0, 4 * MIB);
    expect(disk.store.count('read')).toBe(asked);
    expect(sameBytes(await readAll(disk.device, MIB, BLOCK), pattern(BLOCK, 2))).toBe(true);
  });

  it('fetches ahead no more than a part of the memory for reads', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(8 * MIB, 1)], 0);
      await disk.device.flush!(0);
    }
    await using disk = await opened(bucket, { readCache: 4 * MIB });
    await disk.device.prefetch!(0, 8 * MIB);
    const headers = 32 * KIB * disk.store.keys('disks/a/log/').length;
    const bytes = disk.store.requests.reduce((sum, request) => sum + request.bytes, 0);
    expect(bytes).toBeGreaterThanOrEqual(MIB);
    expect(bytes).toBeLessThanOrEqual(MIB + headers);
  });

  it('fails a prefetch of what is missing, and goes on', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(BLOCK, 1)], 0);
      await disk.device.flush!(0);
      await disk.device.write!(BLOCK, [pattern(BLOCK, 2)], 0);
      await disk.device.flush!(0);
    }
    await using disk = await opened(bucket);
    bucket.objects.delete(disk.store.keys('disks/a/log/')[0]!);
    await expect(disk.device.prefetch!(0, 2 * BLOCK)).rejects.toMatchObject({ code: 'EIO' });
    expect(sameBytes(await readAll(disk.device, BLOCK, BLOCK), pattern(BLOCK, 2))).toBe(true);
  });

  it('does not open a log whose last object was cut short', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(64 * KIB, 1)], 0);
      await disk.device.flush!(0);
    }
    const [key] = [...bucket.objects.keys()].filter((name) => name.includes('/log/'));
    const { body, info } = bucket.objects.get(key!)!;
    bucket.objects.set(key!, {
      body: body.subarray(0, body.length - 1),
      info: { ...info, size: body.length - 1 },
    });
    expect(await refusal(opened(bucket))).toMatchObject({
      code: 'volume.corrupt',
      why: `it has ${body.length - 1} bytes, and its header describes ${body.length}`,
    });
  });

  it('does not take a part of an object that the store has kept for all of it', async () => {
    await using disk = await opened(await newVolume());
    const { store, device } = disk;
    let torn = '';
    const put = store.put.bind(store);
    store.put = async (key, body, options, signal) => {
      if (torn !== '') return await put(key, body, options, signal);
      torn = key;
      // Without the mark by which a request is known as ours.
      await put(key, body.subarray(0, body.length - 1), {});
      throw new StoreError('rejected', 'the upload broke off');
    };
    await device.write!(0, [pattern(BLOCK, 1)], 0);
    await expect(Promise.resolve(device.flush!(0))).rejects.toMatchObject({ code: 'EIO' });
    // It is tried again, and found to be there.
    await expect(Promise.resolve(device.flush!(0))).rejects.toMatchObject({
      message: expect.stringContaining(`of ${torn} the store has `),
    });
  });

  it('does not open a log with an object missing or changed', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket);
      for (let i = 0; i < 3; i++) {
        await disk.device.write!(0, [pattern(BLOCK, i)], 0);
        await disk.device.flush!(0);
      }
    }
    const keys = [...bucket.objects.keys()].filter((key) => key.includes('/log/'));
    const there = bucket.objects.get(keys[1]!)!;
    bucket.objects.delete(keys[1]!);
    expect(await refusal(opened(bucket))).toMatchObject({ code: 'volume.corrupt' });
    bucket.objects.set(keys[1]!, bucket.objects.get(keys[0]!)!);
    expect(await refusal(opened(bucket))).toMatchObject({ code: 'volume.corrupt' });
    bucket.objects.set(keys[1]!, there);
    await using _disk = await opened(bucket);
  });

  it('opens read-only beside its writer, and sees what was durable', async () => {
    const bucket = await newVolume();
    await using writer = await opened(bucket);
    await writer.device.write!(0, [pattern(BLOCK, 1)], 0);
    await writer.device.flush!(0);
    await using reader = await opened(bucket, {}, { readOnly: true });
    expect(sameBytes(await readAll(reader.device, 0, BLOCK), pattern(BLOCK, 1))).toBe(true);
    expect(reader.store.requests.every(({ operation }) => operation === 'read')).toBe(true);
    await writer.device.write!(0, [pattern(BLOCK, 2)], 0);
    await writer.device.flush!(0);
  });

  it('waits for room when the store does not take what is written', async () => {
    const bucket = await newVolume();
    await using disk = await opened(bucket, { writeBuffer: MIB });
    const { promise, resolve } = Promise.withResolvers<void>();
    disk.store.gate = () => promise;
    let done = 0;
    const writes = Array.from({ length: 8 }, async (_, i) => {
      await disk.device.write!(i * 512 * KIB, [pattern(512 * KIB, i)], 0);
      done++;
    });
    await new Promise((next) => setTimeout(next, 20));
    expect(done).toBe(2);
    disk.store.gate = undefined;
    resolve();
    await Promise.all(writes);
    await disk.device.flush!(0);
    for (let i = 0; i < 8; i++)
      expect(sameBytes(await readAll(disk.device, i * 512 * KIB, 512 * KIB), pattern(512 * KIB, i))).toBe(
        true,
      );
  });

  it('grows, does not shrink, says what it is, and is deleted without a trace', async () => {
    const bucket = await newVolume();
    const on = <T>(run: Parameters<typeof withStore<T>>[3]) =>
      withStore(new FakeStore(bucket), settings(), context(), run);
    expect((await on((operation) => resizeVolume(operation, 32 * MIB))).size).toBe(32 * MIB);
    expect(await refusal(on((operation) => resizeVolume(operation, 16 * MIB)))).toMatchObject({
      code: 'volume.cannot-shrink',
    });
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(MIB, 1)], 0);
      await disk.device.flush!(0);
      await disk.device.resize!(64 * MIB);
      expect(disk.device.info.size).toBe(64 * MIB);
      await disk.device.write!(63 * MIB, [pattern(MIB, 1)], 0);
      await disk.device.flush!(0);
    }
    const info = await on(volumeInfo);
    expect(info).toMatchObject({
      size: 64 * MIB,
      used: 2 * MIB,
      details: { layout: 'log', amplification: 1 },
    });
    await on((operation) => deleteVolume(operation, { force: false, progress: () => {} }));
    expect(bucket.objects.size).toBe(0);
  });

  it('refuses a layout that the volume does not have, and sizes that it cannot have', async () => {
    const bucket = await newVolume();
    expect(await refusal(opened(bucket, { layout: 'chunk' }))).toMatchObject({
      code: 'volume.layout-mismatch',
    });
    const odd = settings({ size: MIB + 512, prefix: 'odd' });
    expect(await refusal(withStore(new FakeStore(bucket), odd, context(), createVolume))).toMatchObject({
      code: 'volume.bad-size',
    });
  });

  it('refuses a store that does not keep to conditions', async () => {
    const bucket = await newVolume();
    bucket.conditional = false;
    expect(await refusal(opened(bucket))).toMatchObject({ code: 's3.no-conditional-writes' });
  });

  it.each([400, 501])('refuses a store that answers conditions with %i, and says so', async (status) => {
    const bucket = await newVolume();
    bucket.unsupported = status;
    expect(await refusal(opened(bucket))).toMatchObject({
      code: 's3.no-conditional-writes',
      why: 'It refuses a write with If-Match: NotImplemented.',
    });
  });

  it('makes a checkpoint after many objects, and frees what was overwritten', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket);
      for (let i = 0; i < 600; i++) {
        await disk.device.write!((i % 8) * BLOCK, [pattern(BLOCK, i + 1)], 0);
        await disk.device.flush!(0);
      }
    }
    const logged = [...bucket.objects.keys()].filter((key) => key.includes('/log/')).length;
    expect(logged).toBeLessThan(300);
    expect([...bucket.objects.keys()].filter((key) => key.includes('/ckpt/')).length).toBeLessThanOrEqual(2);
    await using disk = await opened(bucket);
    for (let i = 592; i < 600; i++)
      expect(sameBytes(await readAll(disk.device, (i % 8) * BLOCK, BLOCK), pattern(BLOCK, i + 1))).toBe(true);
  });

  it('frees what is discarded, without many objects before', async () => {
    const bucket = await newVolume(128 * MIB);
    await using disk = await opened(bucket);
    for (let at = 0; at < 96 * MIB; at += MIB) await disk.device.write!(at, [pattern(MIB, at + 1)], 0);
    await disk.device.flush!(0);
    const stored = () => [...bucket.objects.values()].reduce((sum, { body }) => sum + body.length, 0);
    expect(stored()).toBeGreaterThan(96 * MIB);
    await disk.device.discard!(0, 90 * MIB, 0);
    await disk.device.flush!(0);
    await expect.poll(stored, { timeout: 5000 }).toBeLessThan(16 * MIB);
    expect(sameBytes(await readAll(disk.device, 95 * MIB, MIB), pattern(MIB, 95 * MIB + 1))).toBe(true);
  });

  it('says in its status what it has asked of the store, and what that costs', async () => {
    await using disk = await opened(await newVolume());
    await disk.device.write!(0, [pattern(BLOCK, 1)], 0);
    await disk.device.flush!(0);
    const { PUT, GET, HEAD, cost, state } = disk.device.status!();
    expect(state).toBe('ok');
    expect(PUT).toMatch(/^[1-9]\d* \([\d.]+ KiB\) \$0\.0000\d\d; per hour \d+ /);
    expect(GET).toMatch(/^[1-9]\d* \([\d.]+ K?i?B\) \$0\.00000\d; per hour \d+ /);
    expect(HEAD).toBeUndefined();
    expect(cost).toMatch(/^\$0\.0000\d\d; per hour \$[\d.]+$/);
  });

  it('reads what it has just stored from memory', async () => {
    await using disk = await opened(await newVolume());
    await disk.device.write!(0, [pattern(MIB, 1)], 0);
    await disk.device.flush!(0);
    disk.store.requests.length = 0;
    expect(sameBytes(await readAll(disk.device, 0, MIB), pattern(MIB, 1))).toBe(true);
    expect(disk.store.requests).toEqual([]);
  });

  it('is read as it was when it was opened, although its writer deletes that checkpoint', async () => {
    const PAGE = 64 * MIB;
    const bucket = await newVolume(4 * PAGE);
    const checkpoint = () =>
      operate(bucket, (operation) => withWriter(operation, (writer) => writer.checkpoint()));
    const fill = async (tag: number, from: number): Promise<void> => {
      await using disk = await opened(bucket);
      for (let at = from; at < 4 * PAGE; at += PAGE) await disk.device.write!(at, [pattern(MIB, tag)], 0);
      await disk.device.flush!(0);
    };
    await fill(1, 0);
    await checkpoint();
    const old = [...bucket.objects.keys()].find((key) => key.includes('/ckpt/'))!;
    await using reader = await opened(bucket, {}, { readOnly: true });
    // What it reads by itself arrives.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    // Elsewhere in the same pages, until they are put together in another one.
    for (let round = 0; bucket.objects.has(old) && round < 40; round++) {
      await fill(2 + round, 8 * MIB);
      await checkpoint();
    }
    expect(bucket.objects.has(old)).toBe(false);
    for (let at = 0; at < 4 * PAGE; at += PAGE)
      expect(sameBytes(await readAll(reader.device, at, MIB), pattern(MIB, 1))).toBe(true);
  });

  it('is looked at while its writer deletes what was named a moment ago', async () => {
    const bucket = await newVolume();
    await using writer = await opened(bucket);
    const overwrite = async (times: number) => {
      for (let i = 0; i < times; i++) {
        await writer.device.write!((i % 8) * BLOCK, [pattern(BLOCK, i + 1)], 0);
        await writer.device.flush!(0);
      }
    };
    await overwrite(300);
    const store = new FakeStore(bucket);
    let isFirst = true;
    // Between the head and the checkpoint that it names.
    store.gate = async (_operation, key) => {
      if (!key.includes('/ckpt/') || !isFirst) return;
      isFirst = false;
      await overwrite(600);
    };
    const info = await withStore(store, settings(), context(), volumeInfo);
    expect(isFirst).toBe(false);
    expect(info.used).toBe(8 * BLOCK);
  });

  it('has a bound for zeros that the store does not take', async () => {
    const bucket = await newVolume();
    await using disk = await opened(bucket, { writeBuffer: MIB });
    const { promise, resolve } = Promise.withResolvers<void>();
    disk.store.gate = () => promise;
    let done = 0;
    const zeros = Array.from({ length: 20_000 }, async (_, i) => {
      await disk.device.discard!((i % 4000) * BLOCK, BLOCK, 0);
      done++;
    });
    await new Promise((next) => setTimeout(next, 50));
    expect(done).toBeGreaterThan(1000);
    expect(done).toBeLessThan(10_000);
    disk.store.gate = undefined;
    resolve();
    await Promise.all(zeros);
    await disk.device.flush!(0);
  });
});
