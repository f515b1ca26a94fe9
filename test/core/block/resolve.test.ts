import { describe, expect, it } from 'vitest';
import { type BlockDevice, IoFlag } from '../../../core/api/device.ts';
import { BlockError, GatewayError } from '../../../core/api/errors.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { FakeDevice } from '../../support/fake-device.ts';

/** The device with some methods taken away: presence is capability. */
function without(device: FakeDevice, ...methods: (keyof BlockDevice)[]): BlockDevice {
  return new Proxy(device as BlockDevice, {
    get: (target, key) => {
      if (methods.includes(key as keyof BlockDevice)) return undefined;
      const value = Reflect.get(target, key) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

describe('resolve', () => {
  it('reads capability from the presence of methods', () => {
    const caps = resolve(without(new FakeDevice({ size: 4096 }), 'write', 'flush'), 'fake').caps;
    expect(caps).toMatchObject({
      write: false,
      flush: false,
      discard: false,
      writeZeroes: 'none',
      fua: 'none',
    });
  });

  it('emulates FUA by a flush after the write', async () => {
    const device = new FakeDevice({ size: 4096 });
    await resolve(device, 'fake').write(0, [new Uint8Array(512)], IoFlag.FUA);
    expect(device.calls.map(({ op, flags }) => [op, flags])).toEqual([
      ['write', 0],
      ['flush', 0],
    ]);
  });

  it('passes FUA on to a device that has it', async () => {
    const device = new FakeDevice({ size: 4096, caps: { fua: 'native' } });
    await resolve(device, 'fake').write(0, [new Uint8Array(512)], IoFlag.FUA);
    expect(device.calls.map(({ op, flags }) => [op, flags])).toEqual([['write', IoFlag.FUA]]);
  });

  it('does not flush after a FUA write that failed', async () => {
    const device = new FakeDevice({ size: 4096 });
    device.gate = () => Promise.reject(new BlockError('EIO', 'no'));
    await expect(resolve(device, 'fake').write(0, [new Uint8Array(512)], IoFlag.FUA)).rejects.toThrow('no');
    expect(device.calls).toHaveLength(1);
  });

  it('writes zeros out, within the limits, where the device cannot', async () => {
    const device = new FakeDevice({ size: 1 << 20, limits: { maxIo: 100_000, maxSegments: 2 } });
    device.data.fill(7);
    await resolve(without(device, 'writeZeroes'), 'fake').writeZeroes(512, 700 * 1024, 0);
    expect(device.data.indexOf(0)).toBe(512);
    expect(device.data.subarray(512, 512 + 700 * 1024).every((byte) => byte === 0)).toBe(true);
    expect(device.data[512 + 700 * 1024]).toBe(7);
    for (const call of device.calls) {
      expect(call.length).toBeLessThanOrEqual(100_000);
      expect(call.length % 512).toBe(0);
      expect(call.segments).toBeLessThanOrEqual(2);
    }
  });

  it('refuses to write zeros out when asked for a fast way only', async () => {
    const device = resolve(without(new FakeDevice({ size: 4096 }), 'writeZeroes'), 'fake');
    await expect(device.writeZeroes(0, 512, IoFlag.NO_FALLBACK)).rejects.toMatchObject({ code: 'ENOTSUP' });
  });

  it('has a prefetch that does nothing where the device has none, and says so', () => {
    const device = new FakeDevice({ size: 4096 });
    const none = resolve(without(device, 'prefetch'), 'fake');
    expect(none.caps.prefetch).toBe(false);
    expect(none.prefetch(0, 4096)).toBeUndefined();
    expect(device.calls).toEqual([]);
    const some = resolve(new FakeDevice({ size: 4096, caps: { readOnly: true } }), 'fake');
    expect(some.caps.prefetch).toBe(true);
  });

  it('refuses changes to a read-only device with EROFS', () => {
    const device = resolve(new FakeDevice({ size: 4096, caps: { readOnly: true } }), 'fake');
    expect(() => device.write(0, [new Uint8Array(512)], 0)).toThrow('read-only');
    expect(() => device.discard(0, 512, 0)).toThrow('read-only');
    expect(() => device.writeZeroes(0, 512, 0)).toThrow('read-only');
    expect(device.flush(0)).toBeUndefined();
  });

  it.each([
    ['a size of 0', { size: 0 }],
    ['a size that is not a multiple of the block', { size: 4096 + 512, limits: { blockSize: 4096 } }],
    ['a size beyond 2^53', { size: 2 ** 53 }],
    ['a block size that is not a power of two', { size: 3000, limits: { blockSize: 1000 } }],
    ['a block size below 512', { size: 4096, limits: { blockSize: 256 } }],
    ['a maxIo below a block', { size: 4096, limits: { blockSize: 4096, maxIo: 512 } }],
    ['a negative limit', { size: 4096, limits: { maxSegments: -1 } }],
  ])('refuses %s as a mistake of the backend', (_name, info) => {
    const size = info.size;
    const device = new FakeDevice({ ...info, size: Math.min(Math.max(size, 0), 8192) });
    Object.assign(device, { info });
    try {
      resolve(device, 'fake');
      expect.unreachable('it was accepted');
    } catch (error) {
      expect(GatewayError.is(error) && error.code).toBe('backend.bad-device');
    }
  });
});
