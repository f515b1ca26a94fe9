import { readFileSync, writeFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../../core/api/device.ts';
import { BlockError } from '../../../core/api/errors.ts';
import type { FilterLayer } from '../../../core/api/filter.ts';
import { resolve } from '../../../core/block/resolve.ts';
import cache from '../../../core/filters/cache/cache.ts';
import { FakeDevice } from '../../support/fake-device.ts';
import { openContext } from '../../support/plugin-context.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const PAGE = 4096;
const SIZE = 2 ** 22;
/** 256 pages. */
const SMALL = { size: '1MiB', page: PAGE };

let folder: ReturnType<typeof tempFolder>;
let device: FakeDevice;

beforeEach(() => {
  folder = tempFolder();
  device = new FakeDevice({ size: SIZE, caps: { concurrency: 'parallel' } });
  for (let at = 0; at < SIZE; at += PAGE) device.data.fill(at / PAGE, at, at + PAGE);
});

afterEach(() => folder[Symbol.dispose]());

async function wrap(config: object, store: BlockDevice = device): Promise<FilterLayer & AsyncDisposable> {
  const result = await cache.config['~standard'].validate(config);
  if (result.issues) throw new Error(JSON.stringify(result.issues));
  return (await cache.wrap(resolve(store, 'fake'), result.value, openContext(folder.path))) as never;
}

async function read(layer: FilterLayer, offset: number, length = PAGE): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await layer.read(offset, [bytes.subarray(0, 100), bytes.subarray(100)], 0);
  return bytes;
}

const write = (layer: FilterLayer, offset: number, byte: number, length = PAGE) =>
  layer.write(offset, [new Uint8Array(length).fill(byte)], 0);
const reads = () => device.calls.filter(({ op }) => op === 'read').length;
const writes = () => device.calls.filter(({ op }) => op === 'write').length;

describe('a cache', () => {
  it('asks the store once', async () => {
    await using layer = await wrap(SMALL);
    for (let i = 0; i < 5; i++) expect((await read(layer, 3 * PAGE))[9]).toBe(3);
    await read(layer, 3 * PAGE + 512, 512);
    expect(reads()).toBe(1);
    expect(layer.status!()).toMatchObject({ pages: '1 of 256', hits: '83.3 %' });
  });

  it('keeps what was used last', async () => {
    await using layer = await wrap(SMALL);
    for (let page = 0; page < 256; page++) await read(layer, page * PAGE);
    await read(layer, 0);
    await read(layer, 256 * PAGE);
    expect(reads()).toBe(257);
    await read(layer, 0);
    expect(reads()).toBe(257);
    await read(layer, PAGE);
    expect(reads()).toBe(258);
  });

  it('writes through, and has it', async () => {
    await using layer = await wrap(SMALL);
    await read(layer, 0);
    await write(layer, 512, 9, 512);
    await write(layer, PAGE, 8);
    expect([device.data[512], device.data[PAGE]]).toEqual([9, 8]);
    expect([...(await read(layer, 0))].filter((byte) => byte === 9)).toHaveLength(512);
    expect((await read(layer, PAGE))[7]).toBe(8);
    expect(reads()).toBe(1);
  });

  it('does not believe itself where a write has failed', async () => {
    await using layer = await wrap(SMALL);
    await read(layer, 0);
    device.gate = ({ op }) => {
      if (op !== 'write') return;
      device.data.fill(77, 0, 100);
      throw new BlockError('EIO', 'half of it');
    };
    await expect(write(layer, 0, 9)).rejects.toThrow('half of it');
    expect((await read(layer, 0))[50]).toBe(77);
  });

  it('with write-back keeps writes until a flush', async () => {
    await using layer = await wrap({ ...SMALL, mode: 'writeback' });
    expect(layer.caps).toMatchObject({ flush: true, writeCache: 'process' });
    for (let i = 0; i < 10; i++) await write(layer, i * PAGE, 200 + i);
    await write(layer, 20 * PAGE + 512, 99, 512);
    expect(writes()).toBe(0);
    expect((await read(layer, 5 * PAGE))[0]).toBe(205);
    await layer.flush(0);
    expect(device.calls.slice(-1)[0]!.op).toBe('flush');
    // Neighbours together.
    expect(writes()).toBe(2);
    expect(device.data[9 * PAGE]).toBe(209);
    expect([device.data[20 * PAGE], device.data[20 * PAGE + 512]]).toEqual([20, 99]);
    await layer.flush(0);
    expect(writes()).toBe(2);
  });

  it('never drops what only it has, whatever the store does', async () => {
    await using layer = await wrap({ ...SMALL, mode: 'writeback' });
    device.gate = ({ op }) => {
      if (op === 'write') throw new BlockError('EIO', 'the store is away');
    };
    let taken = 0;
    for (let page = 0; page < 300; page++) {
      try {
        await write(layer, page * PAGE, 255 - (page % 200));
        taken++;
      } catch {
        break;
      }
    }
    expect(taken).toBe(256);
    await expect(layer.flush(0)).rejects.toThrow('the store is away');
    for (let page = 300; page < 320; page++) expect((await read(layer, page * PAGE))[0]).toBe(page % 256);
    for (let page = 0; page < taken; page++)
      expect((await read(layer, page * PAGE))[0]).toBe(255 - (page % 200));
    device.gate = undefined;
    await layer.flush(0);
    for (let page = 0; page < taken; page++) expect(device.data[page * PAGE]).toBe(255 - (page % 200));
  });

  it('writes back before the store is asked for holes, or changed in another way', async () => {
    await using layer = await wrap({ ...SMALL, mode: 'writeback' });
    await write(layer, 0, 9, 2 * PAGE);
    await layer.writeZeroes(512, 512, 0);
    const bytes = await read(layer, 0, 2 * PAGE);
    expect([bytes[0], bytes[512], bytes[1024], bytes[PAGE]]).toEqual([9, 0, 9, 9]);
    await write(layer, 4 * PAGE, 7);
    await layer.extents(4 * PAGE, PAGE);
    expect(device.data[4 * PAGE]).toBe(7);
  });

  it('fetches ahead what it has not got, neighbours together, for any store', async () => {
    Object.assign(device, { prefetch: undefined });
    await using layer = await wrap(SMALL);
    expect(layer.caps.prefetch).toBe(true);
    await read(layer, 3 * PAGE);
    await layer.prefetch(PAGE + 512, 4 * PAGE);
    const ahead = device.calls.slice(1).map(({ offset, length }) => [offset / PAGE, length / PAGE]);
    expect(ahead).toEqual([
      [1, 2],
      [4, 2],
    ]);
    await layer.prefetch(PAGE, 5 * PAGE);
    for (let page = 1; page <= 5; page++) expect((await read(layer, page * PAGE))[7]).toBe(page);
    expect(reads()).toBe(3);
    expect(layer.status!()).toMatchObject({ pages: '5 of 256', hits: '83.3 %' });
  });

  it('fetches ahead no more than a part of it has room for', async () => {
    await using layer = await wrap(SMALL);
    for (let page = 256; page < 256 + 192; page++) await read(layer, page * PAGE);
    device.calls.length = 0;
    await layer.prefetch(0, SIZE);
    expect(device.calls.reduce((sum, { length }) => sum + length, 0)).toBe(64 * PAGE);
    for (let page = 256; page < 256 + 192; page++) await read(layer, page * PAGE);
    await read(layer, 63 * PAGE);
    expect(reads()).toBe(1);
  });

  it('fetches ahead the last page, which is shorter', async () => {
    device = new FakeDevice({ size: SIZE + 512, caps: { concurrency: 'parallel' } });
    device.data.fill(5, SIZE);
    await using layer = await wrap(SMALL);
    await layer.prefetch(SIZE, 512);
    expect(device.calls).toMatchObject([{ op: 'read', offset: SIZE, length: 512 }]);
    expect((await read(layer, SIZE, 512))[511]).toBe(5);
    expect(reads()).toBe(1);
  });

  it('leaves the memory of a read alone once that has failed', async () => {
    await using layer = await wrap(SMALL);
    const slow = Promise.withResolvers<void>();
    device.gate = ({ op, offset }) =>
      op !== 'read' ? undefined : offset === 0 ? Promise.reject(new BlockError('EIO', 'away')) : slow.promise;
    const bytes = new Uint8Array(2 * PAGE).fill(0xa5);
    let isOver = false;
    const reading = Promise.resolve(layer.read(0, [bytes], 0)).finally(() => {
      isOver = true;
    });
    reading.catch(() => undefined);
    await setImmediate();
    expect(isOver).toBe(false);
    slow.resolve();
    await expect(reading).rejects.toThrow('away');
  });

  it('has nothing of a prefetch that failed, and of one that a write overtakes what was written', async () => {
    await using layer = await wrap(SMALL);
    device.gate = () => Promise.reject(new BlockError('EIO', 'away'));
    await expect(layer.prefetch(0, 8 * PAGE)).rejects.toThrow('away');
    expect(layer.status!()).toMatchObject({ pages: '0 of 256' });
    const gate = Promise.withResolvers<void>();
    device.gate = ({ op }) => (op === 'read' ? gate.promise : undefined);
    const prefetch = layer.prefetch(0, 8 * PAGE);
    const writing = write(layer, 2 * PAGE, 99);
    gate.resolve();
    await Promise.all([prefetch, writing]);
    expect((await read(layer, 2 * PAGE))[0]).toBe(99);
    expect((await read(layer, 3 * PAGE))[0]).toBe(3);
  });

  it('with write-back keeps what only it has when it is fetched ahead', async () => {
    await using layer = await wrap({ ...SMALL, mode: 'writeback' });
    await write(layer, 2 * PAGE, 99);
    await layer.prefetch(0, 4 * PAGE);
    expect((await read(layer, 2 * PAGE))[0]).toBe(99);
    expect(writes()).toBe(0);
    // All of it is dirty: nothing has room, and nothing is lost.
    for (let page = 256; page < 511; page++) await write(layer, page * PAGE, 1);
    await layer.prefetch(600 * PAGE, 4 * PAGE);
    expect(layer.status!()).toMatchObject({ pages: '256 of 256', dirty: 256 });
  });

  it('in a file is still there after a restart, and gone after a crash', async () => {
    const config = { ...SMALL, file: 'cache' };
    {
      await using layer = await wrap(config);
      for (let page = 0; page < 20; page++) await read(layer, page * PAGE);
    }
    expect(reads()).toBe(20);
    const before = readFileSync(folder.file('cache.index'));
    {
      await using layer = await wrap(config);
      for (let page = 0; page < 20; page++) expect((await read(layer, page * PAGE))[1]).toBe(page);
      expect(reads()).toBe(20);
      expect(() => readFileSync(folder.file('cache.index'))).toThrow('ENOENT');
      await expect(wrap(config)).rejects.toMatchObject({ code: 'filter.file-in-use' });
    }
    // Of a disk of another size, or without an index, it begins empty.
    writeFileSync(folder.file('cache.index'), before.toString().replace(`"size":${SIZE}`, '"size":1'));
    await using layer = await wrap(config);
    await read(layer, 0);
    expect(reads()).toBe(21);
  });

  it('in a file that was damaged asks the store', async () => {
    const config = { ...SMALL, file: 'cache' };
    {
      await using layer = await wrap(config);
      await read(layer, 5 * PAGE);
    }
    const bytes = readFileSync(folder.file('cache'));
    bytes[100]! ^= 1;
    writeFileSync(folder.file('cache'), bytes);
    await using layer = await wrap(config);
    expect((await read(layer, 5 * PAGE))[100]).toBe(5);
    expect(reads()).toBe(2);
  });

  it('refuses pages that are smaller than the blocks below', async () => {
    device = new FakeDevice({ size: SIZE, limits: { blockSize: 8192 } });
    await expect(wrap(SMALL)).rejects.toMatchObject({ code: 'filter.cache-page' });
  });
});
