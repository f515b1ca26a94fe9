import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BlockError } from '../../../core/api/errors.ts';
import type { FilterLayer } from '../../../core/api/filter.ts';
import { resolve } from '../../../core/block/resolve.ts';
import cow from '../../../core/filters/cow/cow.ts';
import { FakeDevice } from '../../support/fake-device.ts';
import { openContext } from '../../support/plugin-context.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const SIZE = 2 ** 20;

let folder: ReturnType<typeof tempFolder>;
let base: FakeDevice;

beforeEach(() => {
  folder = tempFolder();
  base = new FakeDevice({ size: SIZE, caps: { concurrency: 'parallel' } });
  base.data.fill(1);
});

afterEach(() => folder[Symbol.dispose]());

const wrap = async (device = base): Promise<FilterLayer & AsyncDisposable> =>
  (await cow.wrap(resolve(device, 'fake'), { file: 'overlay' }, openContext(folder.path))) as never;

async function read(layer: FilterLayer, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await layer.read(offset, [bytes], 0);
  return bytes;
}

const write = (layer: FilterLayer, offset: number, byte: number, length: number) =>
  layer.write(offset, [new Uint8Array(length).fill(byte)], 0);

describe('an overlay', () => {
  it('takes every change, and leaves what is below as it is', async () => {
    await using layer = await wrap();
    await write(layer, 512, 2, 1024);
    await write(layer, 8192 - 512, 3, 1024);
    await layer.writeZeroes(65536, 4096, 0);
    const bytes = await read(layer, 0, SIZE);
    expect([bytes[0], bytes[512], bytes[1535], bytes[1536]]).toEqual([1, 2, 2, 1]);
    expect([bytes[7679], bytes[7680], bytes[8703], bytes[8704]]).toEqual([1, 3, 3, 1]);
    expect([bytes[65535], bytes[65536], bytes[69631], bytes[69632]]).toEqual([1, 0, 0, 1]);
    expect(base.data.every((byte) => byte === 1)).toBe(true);
    expect(base.calls.every(({ op }) => op === 'read')).toBe(true);
  });

  it('makes a read-only store one that can be written', async () => {
    const { data } = base;
    await using layer = await wrap({ info: { size: SIZE }, read: base.read.bind(base), data } as never);
    expect(layer.caps).toMatchObject({ write: true, flush: true });
    await write(layer, 0, 5, 512);
    expect((await read(layer, 0, 1024)).slice(511, 513)).toEqual(Uint8Array.of(5, 1));
  });

  it('is there again, with and without a flush, as long as the machine runs', async () => {
    {
      await using layer = await wrap();
      await write(layer, 4096, 7, 4096);
    }
    await using layer = await wrap();
    expect((await read(layer, 4096, 4096))[0]).toBe(7);
  });

  it('has what was flushed after the machine has crashed, and what is below for the rest', async () => {
    {
      await using layer = await wrap();
      await write(layer, 0, 7, 4096);
      await layer.flush(0);
    }
    // The live map is of another boot; the durable one knows what a flush has said.
    const durable = readFileSync(folder.file('overlay.map'));
    {
      await using layer = await wrap();
      await write(layer, 40960, 8, 4096);
    }
    writeFileSync(folder.file('overlay.map'), durable);
    rmSync(folder.file('overlay.live'));
    await using layer = await wrap();
    expect((await read(layer, 0, 4096))[9]).toBe(7);
    expect((await read(layer, 40960, 4096))[9]).toBe(1);
  });

  it('tells what it has from what is below', async () => {
    await using layer = await wrap();
    await write(layer, 8192, 7, 4096);
    expect(await layer.extents(0, SIZE)).toEqual([
      { offset: 0, length: 8192, kind: 'data' },
      { offset: 8192, length: 4096, kind: 'data' },
      { offset: 12288, length: SIZE - 12288, kind: 'data' },
    ]);
  });

  it('has fetched ahead what it has not got itself, where there is a way', async () => {
    await using layer = await wrap();
    await write(layer, 8192, 7, 4096);
    base.calls.length = 0;
    await layer.prefetch(4096 + 512, 16384);
    expect(base.calls).toMatchObject([
      { op: 'prefetch', offset: 4608, length: 3584 },
      { op: 'prefetch', offset: 12288, length: 8704 },
    ]);
    base.gate = () => Promise.reject(new BlockError('EIO', 'away'));
    await expect(layer.prefetch(0, 4096)).rejects.toThrow('away');
    await layer.prefetch(8192, 4096);
  });

  it('cannot fetch ahead over a store that cannot', async () => {
    Object.assign(base, { prefetch: undefined });
    await using layer = await wrap();
    expect(layer.caps.prefetch).toBe(false);
  });

  it('belongs to one disk at a time, and to none of another size', async () => {
    {
      await using _layer = await wrap();
      await expect(wrap()).rejects.toMatchObject({ code: 'filter.file-in-use' });
    }
    await expect(wrap(new FakeDevice({ size: SIZE / 2 }))).rejects.toMatchObject({
      code: 'filter.cow-mismatch',
    });
    writeFileSync(folder.file('overlay.map'), Buffer.alloc(5000, 'x'));
    rmSync(folder.file('overlay.live'));
    await expect(wrap()).rejects.toMatchObject({ code: 'filter.cow-mismatch' });
  });

  it('says so when its file cannot be opened', async () => {
    const ctx = openContext(folder.path);
    await expect(cow.wrap(resolve(base, 'fake'), { file: 'no/folder' }, ctx)).rejects.toMatchObject({
      code: 'filter.file',
    });
  });
});
