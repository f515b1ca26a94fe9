import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { PluginContext } from '../../../core/api/backend.ts';
import type { Op, ResolvedDevice } from '../../../core/api/device.ts';
import { BlockError } from '../../../core/api/errors.ts';
import type { FilterLayer, FilterPlugin } from '../../../core/api/filter.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { builtinFilters } from '../../../core/filters/index.ts';
import { FakeDevice, MemoryLogger } from '../../support/fake-device.ts';

function context(baseDir = '/'): PluginContext {
  const signal = new AbortController().signal;
  return { disk: 'disk0', logger: new MemoryLogger(), signal, stateDir: baseDir, baseDir };
}

async function wrap(
  name: string,
  config: object,
  device: FakeDevice,
  ctx = context(),
): Promise<ResolvedDevice> {
  const filter = (await builtinFilters[name]!()).default as FilterPlugin;
  const result = await filter.config['~standard'].validate(config);
  if (result.issues) throw new Error(JSON.stringify(result.issues));
  return filter.wrap(resolve(device, 'fake'), result.value, ctx);
}

const calls: Record<Op, (device: ResolvedDevice) => unknown> = {
  read: (device) => device.read(0, [new Uint8Array(512)], 0),
  write: (device) => device.write(0, [new Uint8Array(512)], 0),
  flush: (device) => device.flush(0),
  discard: (device) => device.discard(0, 512, 0),
  writeZeroes: (device) => device.writeZeroes(0, 512, 0),
  extents: (device) => device.extents(0, 512),
  prefetch: (device) => device.prefetch(0, 512),
};

const NOTHING_TO_DO: Readonly<Record<string, object>> = { error: { rate: 0 }, rate: { iops: 1e9 } };

describe.each(['delay', 'error', 'log', 'rate', 'stats'])('filter %s', (name) => {
  it('lets every operation reach the device when it has nothing to do', async () => {
    const device = new FakeDevice({ size: 4096 });
    const layer = await wrap(name, NOTHING_TO_DO[name] ?? {}, device);
    for (const call of Object.values(calls)) await call(layer);
    const reached = ['read', 'write', 'flush', 'discard', 'writeZeroes', 'prefetch'];
    expect(device.calls.map(({ op }) => op)).toEqual(reached);
  });
});

describe.each(Object.keys(builtinFilters))('filter %s', (name) => {
  it('is registered under its own name', async () => {
    expect((await builtinFilters[name]!()).default.name).toBe(name);
  });
});

describe('a prefetch', () => {
  it('reaches the device through the filter readonly', async () => {
    const device = new FakeDevice({ size: 4096 });
    await calls.prefetch(await wrap('readonly', {}, device));
    expect(device.calls).toMatchObject([{ op: 'prefetch', offset: 0, length: 512 }]);
  });

  it('fails by the filter error where it is to', async () => {
    const device = new FakeDevice({ size: 4096 });
    const layer = await wrap('error', { on: ['prefetch'], range: { offset: 512, length: 512 } }, device);
    await layer.prefetch(0, 512);
    expect(() => layer.prefetch(0, 1024)).toThrow('fails this prefetch');
    await calls.read(layer);
  });

  it('is counted, and logged', async () => {
    const ctx = context();
    const device = new FakeDevice({ size: 4096 });
    const stats = (await wrap('stats', {}, device)) as FilterLayer;
    await stats.prefetch(0, 1024);
    expect(stats.status!()).toEqual({ prefetch: expect.stringMatching(/^1 \(.*, 1 KiB\)$/) });
    await (await wrap('log', { on: ['prefetch'] }, device, ctx)).prefetch(512, 1024);
    const { lines } = ctx.logger as MemoryLogger;
    expect(lines).toMatchObject([{ message: 'prefetch', fields: { offset: 512, length: 1024 } }]);
  });
});

describe('filter error', () => {
  it('fails the chosen operations and no others', async () => {
    const device = new FakeDevice({ size: 4096 });
    const layer = await wrap('error', { on: ['flush'], code: 'ENOSPC' }, device);
    expect(() => layer.flush(0)).toThrow('fails this flush');
    await calls.read(layer);
    expect(device.calls.map(({ op }) => op)).toEqual(['read']);
  });

  it('fails about as many as the rate says, the same ones for the same seed', async () => {
    const outcome = async () => {
      const layer = await wrap('error', { rate: 0.25, seed: 3 }, new FakeDevice({ size: 4096 }));
      return Array.from({ length: 400 }, () => {
        try {
          void layer.read(0, [new Uint8Array(512)], 0);
          return false;
        } catch {
          return true;
        }
      });
    };
    const first = await outcome();
    expect(await outcome()).toEqual(first);
    expect(first.filter(Boolean).length).toBeGreaterThan(60);
    expect(first.filter(Boolean).length).toBeLessThan(140);
  });

  it('fails only while its file exists', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'blockgate-filter-'));
    try {
      const layer = await wrap('error', { file: 'inject' }, new FakeDevice({ size: 4096 }), context(folder));
      await calls.read(layer);
      await writeFile(join(folder, 'inject'), '');
      expect(() => calls.read(layer)).toThrow('fails this read');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('fails the nth request that it could fail, and no other', async () => {
    const layer = await wrap('error', { nth: 3, on: ['write'] }, new FakeDevice({ size: 4096 }));
    for (let i = 1; i <= 5; i++) {
      await calls.read(layer);
      if (i === 3) expect(() => calls.write(layer)).toThrow('fails this write');
      else await calls.write(layer);
    }
  });

  it('fails once and then never again', async () => {
    const layer = await wrap('error', { once: true }, new FakeDevice({ size: 4096 }));
    expect(() => calls.read(layer)).toThrow('fails this read');
    await calls.read(layer);
    await calls.write(layer);
  });

  it('fails what touches its range', async () => {
    const range = { offset: 1024, length: 512 };
    const layer = await wrap('error', { range, on: ['read', 'flush'] }, new FakeDevice({ size: 4096 }));
    const read = (offset: number, length: number) => layer.read(offset, [new Uint8Array(length)], 0);
    await read(0, 1024);
    await read(1536, 512);
    expect(() => read(512, 1024)).toThrow('fails this read');
    expect(() => layer.flush(0)).toThrow('fails this flush');
  });
});

describe('the stats filter', () => {
  it('counts what happened', async () => {
    const device = new FakeDevice({ size: 4096 });
    const layer = (await wrap('stats', {}, device)) as FilterLayer;
    await calls.read(layer);
    await calls.read(layer);
    device.gate = () => {
      throw new BlockError('EIO', 'no');
    };
    expect(() => calls.write(layer)).toThrow('no');
    expect(layer.status!()).toEqual({
      read: expect.stringMatching(/^2 \(.* median, .* 99 %, 1 KiB\)$/),
      write: expect.stringMatching(/^1 \(.*, 1 failed\)$/),
    });
  });
});

describe('the log filter', () => {
  it('tells of what it is to tell, and of failures', async () => {
    const device = new FakeDevice({ size: 4096 });
    const ctx = context();
    const layer = await wrap('log', { on: ['read', 'write'], slowerThanMs: 60_000 }, device, ctx);
    await calls.read(layer);
    await calls.flush(layer);
    device.gate = () => Promise.reject(new BlockError('EIO', 'no'));
    await expect(calls.write(layer)).rejects.toThrow('no');
    const { lines } = ctx.logger as MemoryLogger;
    expect(lines).toMatchObject([
      { level: 'warn', message: 'write failed', fields: { offset: 0, length: 512 } },
    ]);
  });
});

describe('the delay filter', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('makes a prefetch as slow as a read', async () => {
    const device = new FakeDevice({ size: 4096 });
    const layer = await wrap('delay', { readMs: 1000 }, device);
    const prefetch = layer.prefetch(0, 512);
    await vi.advanceTimersByTimeAsync(999);
    expect(device.calls).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    await prefetch;
    expect(device.calls).toMatchObject([{ op: 'prefetch' }]);
  });
});

describe('the rate filter', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('counts what is fetched ahead as read', async () => {
    const device = new FakeDevice({ size: 2 ** 20, caps: { concurrency: 'parallel' } });
    const layer = await wrap('rate', { bytesPerSecond: 65536, burst: 0 }, device);
    const prefetch = layer.prefetch(0, 2 * 65536);
    await vi.advanceTimersByTimeAsync(1900);
    expect(device.calls).toEqual([]);
    await vi.advanceTimersByTimeAsync(200);
    await prefetch;
    expect(device.calls).toMatchObject([{ op: 'prefetch', offset: 0, length: 2 * 65536 }]);
  });

  it.each([
    ['requests', { iops: 10, burst: 0 }],
    ['bytes', { bytesPerSecond: 5120, burst: 0 }],
  ])('lets through so many %s per second', async (_what, config) => {
    const device = new FakeDevice({ size: 4096, caps: { concurrency: 'parallel' } });
    const layer = await wrap('rate', config, device);
    const reads = Array.from({ length: 20 }, () => calls.read(layer));
    await vi.advanceTimersByTimeAsync(1000);
    expect(device.calls.length).toBeGreaterThanOrEqual(9);
    expect(device.calls.length).toBeLessThanOrEqual(11);
    await vi.advanceTimersByTimeAsync(1100);
    await Promise.all(reads);
    expect(device.calls.length).toBe(20);
  });

  it('lets a quiet disk save up', async () => {
    const device = new FakeDevice({ size: 4096, caps: { concurrency: 'parallel' } });
    const layer = await wrap('rate', { iops: 10, burst: 1 }, device);
    await vi.advanceTimersByTimeAsync(5000);
    const reads = Array.from({ length: 20 }, () => calls.read(layer));
    expect(device.calls.length).toBe(10);
    await vi.advanceTimersByTimeAsync(1100);
    await Promise.all(reads);
  });
});
