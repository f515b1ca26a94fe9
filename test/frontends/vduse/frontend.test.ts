import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GatewayError } from '../../../core/api/errors.ts';
import { featureNames } from '../../../frontends/virtio/blk/features.ts';
import { NAME, Rig, turns } from './rig.ts';

const { EBUSY, EIO } = constants.errno;

async function failureOf(promise: PromiseLike<unknown>): Promise<GatewayError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!GatewayError.is(error)) throw new Error(`not a GatewayError: ${String(error)}`);
  return error;
}

describe('attachDisk', () => {
  it('makes a disk that a driver reads and writes, at a stable path', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    expect(handle.path).toBe(join(rig.kernel.paths.dev, 'blockgate/disk0'));
    expect(readlinkSync(handle.path)).toBe(join(rig.kernel.paths.dev, 'vda'));
    const data = new Uint8Array(4096).fill(0x5a);
    expect(await rig.driver.write(8, data)).toMatchObject({ status: 0, written: 1 });
    expect(rig.store.data.subarray(4096, 8192)).toEqual(data);
    const { status, data: read } = await rig.driver.read(7, 8192, { indirect: true });
    expect(status).toBe(0);
    expect(read).toEqual(rig.store.data.subarray(7 * 512, 7 * 512 + 8192));
  });

  it.each([
    ['split, and all there is', {}, ['INDIRECT_DESC', 'EVENT_IDX']],
    ['split, and nothing else', { eventIdx: false, indirect: false }, []],
    ['packed, and all there is', { ring: 'packed' }, ['INDIRECT_DESC', 'EVENT_IDX', 'RING_PACKED']],
    ['packed, and nothing else', { ring: 'packed', eventIdx: false, indirect: false }, ['RING_PACKED']],
    [
      'packed, of a size that is no power of two',
      { ring: 'packed', queueSize: 11 },
      ['INDIRECT_DESC', 'EVENT_IDX', 'RING_PACKED'],
    ],
  ])('serves virtqueues that are %s', async (_name, config, features) => {
    await using rig = new Rig();
    await rig.attach(config);
    const ofRings = ['INDIRECT_DESC', 'EVENT_IDX', 'RING_PACKED'];
    expect(featureNames(rig.device.offered).filter((name) => ofRings.includes(name))).toEqual(features);
    // Several laps of the ring, with requests of different sizes in flight together.
    for (let i = 0; i < 20; i++) {
      const data = [1, 2, 3].map((n) => new Uint8Array(512 * n).fill(16 * n + i));
      await Promise.all(
        data.map((bytes, n) => rig.driver.write(100 * n + i, bytes, n === 2 ? { readable: [16, 700] } : {})),
      );
      for (const [n, bytes] of data.entries())
        expect(await rig.driver.read(100 * n + i, bytes.length)).toMatchObject({ status: 0, data: bytes });
    }
  });

  it('lets no request have more descriptors than a virtqueue', async () => {
    await using rig = new Rig();
    await rig.attach({ indirect: false });
    expect(new DataView(rig.device.configSpace.buffer).getUint32(12, true)).toBe(16 - 2);
  });

  it('tells the driver size, limits and features of the volume', async () => {
    await using rig = new Rig({ readOnly: true });
    await rig.attach({ queueSize: 1024 });
    const config = new DataView(rig.device.configSpace.buffer);
    expect(config.getBigUint64(0, true)).toBe(2048n);
    // However deep the queue: a request has to fit into a quarter of the bounce memory.
    expect(config.getUint32(12, true)).toBe(254);
    const RO = 1n << 5n;
    expect(rig.device.offered & RO).toBe(RO);
    expect(await rig.driver.write(0, new Uint8Array(512))).toMatchObject({ status: 1 });
  });

  it('answers GET_ID with the serial number', async () => {
    await using rig = new Rig();
    await rig.attach({ serial: 'made-for-a-test' });
    const { data } = await rig.driver.submit(rig.driver.blk.send(8, 0, new Uint8Array(0), 20));
    expect(new TextDecoder().decode(data)).toBe('made-for-a-test\0\0\0\0\0');
  });

  it('serves requests that arrive before the kernel takes interrupts, and interrupts in the end', async () => {
    await using rig = new Rig();
    await rig.attach();
    // The partition scan's read was completed at once, and its interrupt refused at first.
    expect(rig.device.refusedInterrupts).toBeGreaterThan(0);
    expect(rig.device.interrupts[0]).toBeGreaterThan(0);
  });

  it('is refused before anything is made when requests could hang in its bounce memory', async () => {
    await using rig = new Rig();
    await expect(rig.attach({ queueSize: 256, bounceSize: '1MiB' })).rejects.toMatchObject({
      code: 'vduse.bounce-too-small',
    });
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('sets msg_timeout and bounce_size before it attaches', async () => {
    await using rig = new Rig();
    await rig.attach({ msgTimeout: 300, bounceSize: '128MiB' });
    const file = (name: string) =>
      readFileSync(join(rig.kernel.paths.sys, 'class/vduse', NAME, name), 'utf8');
    expect(file('msg_timeout')).toBe('300');
    expect(file('bounce_size')).toBe(String(128 * 2 ** 20));
  });

  it('accepts several queues, of which the driver may use fewer', async () => {
    await using rig = new Rig();
    await rig.attach({ queues: 4 });
    expect(rig.device.queues.map(({ maxSize }) => maxSize)).toEqual([16, 16, 16, 16]);
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });

  it('refuses a driver that chooses what was not offered, and says so', async () => {
    await using rig = new Rig();
    rig.kernel.driverScript = { chooses: (offered) => offered | (1n << 40n) };
    const error = await failureOf(rig.attach());
    expect(error.code).toBe('vduse.driver-refused');
    expect(error.why).toBe('The driver chose features that were not offered: bit 40.');
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('refuses a driver that does not choose VERSION_1', async () => {
    await using rig = new Rig();
    rig.kernel.driverScript = { chooses: (offered) => offered & ~(1n << 32n) };
    const error = await failureOf(rig.attach());
    expect(error.code).toBe('vduse.driver-refused');
    expect(error.why).toContain('VERSION_1');
  });

  it('reports a device that the bus accepts but that becomes no disk', async () => {
    const grace = new AbortController();
    await using rig = new Rig({ signal: grace.signal });
    rig.kernel.driverScript = { makesDisk: false };
    const attached = rig.attach();
    attached.catch(() => {});
    await turns(() => rig.kernel.drivers.size === 1);
    grace.abort(new Error('tired of waiting'));
    await expect(attached).rejects.toThrow('tired of waiting');
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('leaves nothing behind, whichever system call fails', async () => {
    let calls = Number.POSITIVE_INFINITY;
    for (let failing = 0; failing < calls; failing++) {
      await using rig = new Rig();
      let call = -1;
      let name = '';
      rig.kernel.intercept = (what) => {
        // The answers to messages are the kernel's way to get on; the product has no say in them.
        if (what === 'read' || what === 'write') return undefined;
        call++;
        if (call !== failing) return undefined;
        name = what;
        return -EIO;
      };
      const outcome = await rig.attach().then(
        () => 'attached',
        (error: Error) => error.message,
      );
      rig.kernel.intercept = () => undefined;
      await rig.stop();
      if (name === '') calls = failing;
      const context = `call ${failing} (${name}): ${outcome}`;
      expect(rig.kernel.devices.size, context).toBe(0);
      expect(rig.kernel.leaks, context).toEqual([]);
      expect(existsSync(join(rig.kernel.paths.dev, 'blockgate/disk0')), context).toBe(false);
    }
    expect(calls).toBeGreaterThan(15);
  });
});

describe('stopping', () => {
  it('detaches, closes, destroys, and takes its files along', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    const calls: string[] = [];
    rig.kernel.intercept = (call) => void calls.push(call);
    await handle.quiesce();
    await handle[Symbol.asyncDispose]();
    expect(calls.at(-1)).toBe('ioctl 0x41008103');
    expect(rig.kernel.devices.size).toBe(0);
    expect(existsSync(handle.path)).toBe(false);
    expect(existsSync(join(rig.folder, 'vduse.json'))).toBe(false);
    expect(await handle.closed).toBeUndefined();
  });

  it('lets requests in flight finish when it quiesces, and takes no more', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    const gate = Promise.withResolvers<void>();
    rig.store.gate = () => gate.promise;
    const first = rig.driver.read(0, 512);
    await turns(() => rig.store.active === 1);
    const quiesced = handle.quiesce();
    const second = rig.driver.read(1, 512);
    gate.resolve();
    await quiesced;
    expect(await first).toMatchObject({ status: 0 });
    expect(rig.driver.outstanding).toBe(1);
    // What waits is served while the kernel detaches, or that would never end.
    await handle[Symbol.asyncDispose]();
    expect(await second).toMatchObject({ status: 0 });
  });

  it('says who broke it when the kernel has given the device up', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    rig.device.break();
    expect(await handle.closed).toMatchObject({ code: 'vduse.device-broken' });
  });

  it('notices when somebody else takes the device off the bus', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    await rig.kernel.bus.remove(NAME);
    expect(await handle.closed).toMatchObject({ code: 'vduse.detached' });
  });

  it('fails when the device cannot be destroyed, and the next start makes it anew', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    rig.kernel.intercept = (call) => (call === 'ioctl 0x41008103' ? -EBUSY : undefined);
    expect((await failureOf(handle[Symbol.asyncDispose]())).code).toBe('vduse.destroy-failed');
    rig.kernel.intercept = () => undefined;
    rig.forget();
    await rig.attach({ queueSize: 64 });
    expect(rig.device.queues[0]!.maxSize).toBe(64);
  });

  it('may be asked twice', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    await Promise.all([handle[Symbol.asyncDispose](), handle[Symbol.asyncDispose]()]);
    expect(rig.kernel.devices.size).toBe(0);
  });
});
