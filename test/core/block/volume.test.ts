import { describe, expect, it } from 'vitest';
import { IoFlag } from '../../../core/api/device.ts';
import { BlockError } from '../../../core/api/errors.ts';
import { adaptDevice } from '../../../core/block/layers.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { DiskVolume } from '../../../core/block/volume.ts';
import { FakeDevice, MemoryLogger } from '../../support/fake-device.ts';

const SIZE = 1 << 20;

function setup(info: Partial<FakeDevice['info']> = {}) {
  const device = new FakeDevice({ size: SIZE, ...info });
  const logger = new MemoryLogger();
  return { device, logger, volume: new DiskVolume('disk0', resolve(device, 'fake'), logger) };
}

async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    return BlockError.is(error) ? error.code : `not a BlockError: ${String(error)}`;
  }
  return 'no error';
}

describe('DiskVolume', () => {
  it.each([
    ['beyond the end', SIZE, 512],
    ['across the end', SIZE - 512, 1024],
    ['a negative offset', -512, 512],
    ['an unaligned offset', 100, 512],
    ['an unaligned length', 0, 100],
    ['an offset that overflows', 2 ** 53, 512],
    ['not a number', Number.NaN, 512],
  ])('refuses %s with EINVAL, before the device sees it', async (_name, offset, length) => {
    const { device, volume } = setup();
    expect(await codeOf(() => volume.read(offset, [new Uint8Array(length)], 0))).toBe('EINVAL');
    expect(await codeOf(() => volume.write(offset, [new Uint8Array(length)], 0))).toBe('EINVAL');
    expect(await codeOf(() => volume.discard(offset, length, 0))).toBe('EINVAL');
    expect(await codeOf(() => volume.writeZeroes(offset, length, 0))).toBe('EINVAL');
    expect(await codeOf(() => volume.prefetch(offset, length))).toBe('EINVAL');
    expect(device.calls).toEqual([]);
    expect(volume.inFlight).toBe(0);
  });

  it('refuses flags that the operation does not have', async () => {
    const { volume } = setup();
    expect(await codeOf(() => volume.write(0, [new Uint8Array(512)], IoFlag.MAY_UNMAP))).toBe('EINVAL');
    expect(await codeOf(() => volume.discard(0, 512, IoFlag.FUA))).toBe('EINVAL');
  });

  it('does nothing, successfully, for a request of no bytes', async () => {
    const { device, volume } = setup();
    expect(volume.read(SIZE, [], 0)).toBeUndefined();
    expect(volume.writeZeroes(0, 0, 0)).toBeUndefined();
    expect(volume.prefetch(SIZE, 0)).toBeUndefined();
    expect(device.calls).toEqual([]);
  });

  it('drains only when the last request in flight has settled', async () => {
    const { device, volume } = setup({ caps: { concurrency: 'parallel' } });
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    device.gate = () => gates[device.calls.length - 1]!.promise;
    const calls = [volume.read(0, [new Uint8Array(512)], 0), volume.write(512, [new Uint8Array(512)], 0)];
    let drained = false;
    const drain = volume.drain().then(() => {
      drained = true;
    });
    gates[1]!.resolve();
    await calls[1];
    expect(drained).toBe(false);
    expect(volume.inFlight).toBe(1);
    gates[0]!.reject(new BlockError('EIO', 'gone'));
    expect(await codeOf(() => calls[0])).toBe('EIO');
    await drain;
    expect(volume.inFlight).toBe(0);
  });

  it('waits for a prefetch when it drains, and hands its error on', async () => {
    const { device, volume } = setup({ caps: { concurrency: 'parallel', readOnly: true } });
    const gate = Promise.withResolvers<void>();
    device.gate = () => gate.promise;
    const prefetch = volume.prefetch(512, 1024);
    expect(volume.inFlight).toBe(1);
    let drained = false;
    const drain = volume.drain().then(() => {
      drained = true;
    });
    await Promise.resolve();
    expect(drained).toBe(false);
    gate.reject(new BlockError('ENOMEM', 'no room'));
    expect(await codeOf(() => prefetch)).toBe('ENOMEM');
    await drain;
    expect(device.calls).toMatchObject([{ op: 'prefetch', offset: 512, length: 1024 }]);
  });

  it('settles a prefetch at once where nobody has one, whatever is under way', () => {
    const device = new FakeDevice({ size: SIZE });
    Object.assign(device, { prefetch: undefined });
    device.gate = () => new Promise(() => undefined);
    const { device: serial } = adaptDevice(resolve(device, 'fake'));
    const volume = new DiskVolume('disk0', serial, new MemoryLogger());
    void volume.read(0, [new Uint8Array(512)], 0);
    expect(volume.prefetch(0, 4096)).toBeUndefined();
    expect(volume.inFlight).toBe(1);
  });

  it('turns a foreign error into EIO and logs it once, with its stack', async () => {
    const { device, logger, volume } = setup();
    device.gate = () => Promise.reject(new TypeError('x is not a function'));
    expect(await codeOf(() => volume.read(0, [new Uint8Array(512)], 0))).toBe('EIO');
    expect(await codeOf(() => volume.read(0, [new Uint8Array(512)], 0))).toBe('EIO');
    expect(logger.lines).toHaveLength(1);
    expect(JSON.stringify(logger.lines[0])).toContain('x is not a function');
  });

  it('counts a request that fails synchronously as settled', async () => {
    const { device, volume } = setup();
    device.gate = () => {
      throw new BlockError('ENOSPC', 'full');
    };
    expect(await codeOf(() => volume.write(0, [new Uint8Array(512)], 0))).toBe('ENOSPC');
    expect(volume.inFlight).toBe(0);
    await volume.drain();
  });

  it('takes requests up to where its device has grown, once it is told', async () => {
    const { device, volume } = setup();
    device.info = { ...device.info, size: 2 * SIZE };
    expect(await codeOf(() => volume.read(SIZE, [new Uint8Array(512)], 0))).toBe('EINVAL');
    volume.grow();
    expect(volume.size).toBe(2 * SIZE);
    expect(await codeOf(() => volume.read(2 * SIZE - 512, [new Uint8Array(512)], 0))).toBe('no error');
    expect(await codeOf(() => volume.read(2 * SIZE, [new Uint8Array(512)], 0))).toBe('EINVAL');
  });

  it.each([SIZE - 512, SIZE + 1, Number.NaN])('keeps its size when its device says %d', (size) => {
    const { device, volume } = setup();
    device.info = { ...device.info, size };
    expect(() => volume.grow()).toThrow(expect.objectContaining({ code: 'disk.bad-size' }));
    expect(volume.size).toBe(SIZE);
  });

  it('fails everything with ESHUTDOWN once closed', async () => {
    const { volume } = setup();
    volume.close();
    expect(await codeOf(() => volume.read(0, [new Uint8Array(512)], 0))).toBe('ESHUTDOWN');
    expect(await codeOf(() => volume.flush(0))).toBe('ESHUTDOWN');
    expect(await codeOf(() => volume.prefetch(0, 512))).toBe('ESHUTDOWN');
  });
});
