import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PluginContext } from '../../../core/api/backend.ts';
import type { Op, ResolvedDevice } from '../../../core/api/device.ts';
import type { FilterPlugin } from '../../../core/api/filter.ts';
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
};

describe.each(Object.keys(builtinFilters))('filter %s', (name) => {
  it('lets every operation reach the device when it has nothing to do', async () => {
    const device = new FakeDevice({ size: 4096 });
    const layer = await wrap(name, name === 'error' ? { rate: 0 } : {}, device);
    for (const call of Object.values(calls)) await call(layer);
    expect(device.calls.map(({ op }) => op)).toEqual(['read', 'write', 'flush', 'discard', 'writeZeroes']);
  });

  it('is registered under its own name', async () => {
    expect((await builtinFilters[name]!()).default.name).toBe(name);
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
});
