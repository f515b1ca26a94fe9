import { describe, expect, it } from 'vitest';
import memory from '../../../backends/memory/index.ts';
import type { OpenContext } from '../../../core/plugin.ts';

const ctx = { disk: 'disk0', readOnly: false } as OpenContext;

describe('the memory backend', () => {
  it('says what it is', async () => {
    await using device = await memory.open({ size: 4096 }, ctx);
    expect(device.info).toEqual({ size: 4096, caps: { concurrency: 'parallel', volatile: true } });
  });

  it('reads zeros where nothing was written', async () => {
    await using device = await memory.open({ size: 1024 }, ctx);
    const sector = new Uint8Array(512).fill(0xff);
    await device.read(512, [sector], 0);
    expect(sector).toEqual(new Uint8Array(512));
  });

  it('reads what was written, over other boundaries', async () => {
    await using device = await memory.open({ size: 4096 }, ctx);
    await device.write!(512, [new Uint8Array(100).fill(1), new Uint8Array(412).fill(2)], 0);
    const whole = new Uint8Array(1024);
    await device.read(512, [whole.subarray(0, 700), whole.subarray(700)], 0);
    expect([whole[0], whole[99], whole[100], whole[511], whole[512]]).toEqual([1, 1, 2, 2, 0]);
  });

  it('reads zeros where something was zeroed or discarded', async () => {
    await using device = await memory.open({ size: 2048 }, ctx);
    await device.write!(0, [new Uint8Array(2048).fill(7)], 0);
    await device.writeZeroes!(512, 512, 0);
    await device.discard!(1024, 512, 0);
    const whole = new Uint8Array(2048);
    await device.read(0, [whole], 0);
    expect([whole[511], whole[512], whole[1535], whole[1536]]).toEqual([7, 0, 0, 7]);
  });

  it.each([
    ['a size in words', '1MiB', 2 ** 20],
    ['a size in bytes', 512, 512],
  ])('takes %s', async (_, size, bytes) => {
    expect(await memory.config['~standard'].validate({ size })).toEqual({ value: { size: bytes } });
  });

  it.each([
    ['no size', {}],
    ['a size of no whole sectors', { size: 1000 }],
    ['more than a process can hold', { size: '1TiB' }],
    ['an unknown key', { size: 512, type: 'memory' }],
  ])('refuses %s', async (_, config) => {
    expect(await memory.config['~standard'].validate(config)).toHaveProperty('issues');
  });
});
