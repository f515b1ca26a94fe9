import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { GENERATIONS, type KernelGeneration } from '../../support/kernel-generation.ts';
import { LAYOUTS } from '../../support/make-ring.ts';
import { NAME, Rig, turns } from './rig.ts';

const { EINVAL, EIO } = constants.errno;
const CREATE_DEV = 'ioctl 0x41508102';

/** What a device is made with: API version and VDUSE features. */
const USED: Record<KernelGeneration, readonly [bigint, bigint]> = {
  '6.12': [0n, 0n],
  '7.0-first': [1n, 0n],
  '7.0': [1n, 0n],
  '7.x-unfinished': [1n, 0n],
  '7.3': [1n, 3n],
  future: [1n, 3n],
};

/** Holds every request of the store until told. */
function holdRequests(rig: Rig): { release(): void } {
  const gate = Promise.withResolvers<void>();
  rig.store.gate = () => gate.promise;
  return { release: gate.resolve };
}

/** As long as anything that is about to happen takes. */
async function someTurns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe.each(GENERATIONS)('Linux %s', (kernel) => {
  it('gets a device of the newest API that is known, for drivers that come and go', async () => {
    await using rig = new Rig({ kernel });
    const handle = await rig.attach({ queues: 2 });
    expect([rig.device.apiVersion, rig.device.vduseFeatures]).toEqual(USED[kernel]);
    expect((await rig.driver.read(1, 512)).data).toEqual(rig.store.data.subarray(512, 1024));
    await rig.kernel.restartDriver(NAME);
    expect(await rig.device.updateIotlb()).toBe(true);
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
    await handle[Symbol.asyncDispose]();
    expect(rig.kernel.devices.size).toBe(0);
    expect(rig.messages('error')).toEqual([]);
  });

  it('has its device served again when a process has died', async () => {
    await using rig = new Rig({ kernel });
    await rig.attach();
    await rig.driver.read(0, 512);
    rig.kill();
    await rig.attach();
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
    await rig.kernel.restartDriver(NAME);
    expect(await rig.driver.read(2, 512)).toMatchObject({ status: 0 });
  });

  it('may refuse what it offered: then the device is made as for the oldest', async () => {
    await using rig = new Rig({ kernel });
    let creations = 0;
    rig.kernel.intercept = (call) => (call === CREATE_DEV && ++creations === 1 ? -EINVAL : undefined);
    if (kernel === '6.12') {
      await expect(rig.attach()).rejects.toThrow('VDUSE_CREATE_DEV: EINVAL');
      return;
    }
    await rig.attach();
    expect([rig.device.apiVersion, rig.device.vduseFeatures]).toEqual([0n, 0n]);
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
    const made = rig.logger.lines.find(({ message }) => message === 'VDUSE device made');
    expect(made).toMatchObject({ level: 'debug' });
    expect(made?.fields).toMatchObject({
      with: expect.stringMatching(/^API version 0; the kernel refused API version 1/),
    });
  });

  it('is left without a trace, whichever system call fails', async () => {
    let calls = Number.POSITIVE_INFINITY;
    for (let failing = 0; failing < calls; failing++) {
      await using rig = new Rig({ kernel });
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
      await rig.attach().catch(() => {});
      rig.kernel.intercept = () => undefined;
      await rig.stop();
      if (name === '') calls = failing;
      const context = `call ${failing} (${name})`;
      expect(rig.kernel.devices.size, context).toBe(0);
      expect(rig.kernel.leaks, context).toEqual([]);
      expect(existsSync(join(rig.kernel.paths.dev, 'blockgate/disk0')), context).toBe(false);
    }
    expect(calls).toBeGreaterThan(15);
  });
});

describe.each(LAYOUTS)('SET_VQ_READY, %s ring', (ring) => {
  afterEach(() => void vi.useRealTimers());
  const newRig = () => new Rig({ config: { ring }, kernel: '7.3' });

  it('starts a queue that was not ready at DRIVER_OK', async () => {
    await using rig = newRig();
    rig.kernel.driverScript = { scans: false };
    rig.kernel.tamperWithQueue = (queue) => {
      queue.ready = false;
    };
    await rig.attach();
    const read = rig.driver.read(1, 512);
    await someTurns();
    expect(rig.driver.outstanding).toBe(1);
    await rig.device.setVqReady(0, true);
    expect(await read).toMatchObject({ status: 0, data: rig.store.data.subarray(512, 1024) });
  });

  it('stops a queue once its requests have been given back, and lets it go on where it stopped', async () => {
    await using rig = newRig();
    await rig.attach();
    const held = holdRequests(rig);
    const first = rig.driver.read(0, 4096);
    await turns(() => rig.store.active === 1);
    let answered = false;
    const stopped = rig.device.setVqReady(0, false).then(() => {
      answered = true;
    });
    await someTurns();
    expect(answered).toBe(false);
    held.release();
    await stopped;
    const published = rig.driver.ring.published;
    const second = rig.driver.read(8, 512);
    await someTurns();
    expect(rig.driver.ring.published).toBe(published);
    // However often a guest does this: nothing of the queue is left.
    expect(rig.kernel.leaks).not.toContain('fd of eventfd');
    await rig.device.setVqReady(0, true);
    expect(await first).toMatchObject({ status: 0 });
    expect((await second).data).toEqual(rig.store.data.subarray(4096, 4608));
    expect(rig.device.broken).toBe(false);
  });

  it('may say what is known already', async () => {
    await using rig = newRig();
    await rig.attach();
    await rig.device.setVqReady(0, true);
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
    await rig.device.setVqReady(0, false);
    await rig.device.setVqReady(0, false);
    await rig.device.setVqReady(0, true);
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
  });

  it('does not make GET_VQ_STATE forget where the queue stopped', async () => {
    await using rig = newRig();
    await rig.attach();
    for (let i = 0; i < 4; i++) await rig.driver.read(i, 512);
    await rig.device.setVqReady(0, false);
    const vqState = ring === 'split' ? [5, 0, 0, 0] : [1, 15, 1, 15];
    expect(await rig.device.vqState(0)).toEqual({ ok: true, vqState });
    expect(await rig.device.vqState(0)).toEqual({ ok: true, vqState });
    await rig.device.setVqReady(0, true);
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
  });

  it('does not end a pause', async () => {
    await using rig = newRig();
    const handle = await rig.attach();
    await rig.device.setVqReady(0, false);
    await handle.quiesce();
    await rig.device.setVqReady(0, true);
    const read = rig.driver.read(0, 512);
    await someTurns();
    expect(rig.driver.outstanding).toBe(1);
    await handle[Symbol.asyncDispose]();
    expect(await read).toMatchObject({ status: 0 });
  });

  it('of a queue that cannot be set up leaves it alone, and the device whole', async () => {
    await using rig = newRig();
    await rig.attach({ queues: 2 });
    Object.assign(rig.device.queues[1]!, {
      num: 16,
      desc: 0x7fff_0000,
      driver: 0x7fff_1000,
      device: 0x7fff_2000,
    });
    await rig.device.setVqReady(1, true);
    expect(rig.messages('error')).toEqual(['the driver cannot use a virtqueue']);
    expect(rig.device.broken).toBe(false);
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
    await rig.kernel.restartDriver(NAME);
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });

  it('of a queue whose requests do not end costs the device', async () => {
    await using rig = newRig();
    const handle = await rig.attach({ msgTimeout: 20 });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const held = holdRequests(rig);
    void rig.driver.read(0, 4096);
    await turns(() => rig.store.active === 1);
    void rig.device.setVqReady(0, false);
    await turns(() => !rig.device.readable);
    await vi.advanceTimersByTimeAsync(10_100);
    vi.useRealTimers();
    expect(await handle.closed).toMatchObject({ code: 'vduse.device-broken' });
    held.release();
    rig.driver[Symbol.dispose]();
    rig.kernel.drivers.clear();
  });
});

it.each(LAYOUTS)(
  'a queue that stands still when a process dies goes on in the next one, %s ring',
  async (ring) => {
    await using rig = new Rig({ config: { ring }, kernel: '7.3' });
    await rig.attach({ queues: 2 });
    for (let i = 0; i < 4; i++) await rig.driver.read(i, 512);
    // Only a device with a queue that is ready is one with a driver.
    const rings = Math.ceil(rig.driver.ring.allocate(2048) / 64) * 64;
    rig.driver.ring.at(rings, 1536).fill(0);
    Object.assign(rig.device.queues[1]!, {
      num: 16,
      desc: rings,
      driver: rings + 512,
      device: rings + 1024,
      state: ring === 'split' ? [0, 0, 0, 0] : [1, 0, 1, 0],
      ready: true,
    });
    await rig.device.setVqReady(0, false);
    rig.kill();
    await rig.attach({ queues: 2 });
    const read = rig.driver.read(1, 512);
    await rig.device.setVqReady(0, true);
    expect(await read).toMatchObject({ status: 0, data: rig.store.data.subarray(512, 1024) });
  },
);

it('a queue that is told anew where to start starts there', async () => {
  await using rig = new Rig({ kernel: '7.3' });
  await rig.attach();
  await rig.driver.read(0, 512);
  await rig.device.setVqReady(0, false);
  const skipped = rig.driver.blk.read(1, 512);
  rig.device.queues[0]!.state = [3, 0, 0, 0];
  const served = rig.driver.read(2, 512);
  await rig.device.setVqReady(0, true);
  expect((await served).data).toEqual(rig.store.data.subarray(1024, 1536));
  expect(rig.driver.blk.status(skipped)).not.toBe(0);
});

describe.each(LAYOUTS)('SUSPEND, %s ring', (ring) => {
  afterEach(() => void vi.useRealTimers());
  const newRig = () => new Rig({ config: { ring }, kernel: '7.3' });

  it('waits for the requests in flight; then nothing happens until the driver resets the device', async () => {
    await using rig = newRig();
    await rig.attach();
    const held = holdRequests(rig);
    const first = rig.driver.read(0, 4096);
    await turns(() => rig.store.active === 1);
    let answered = false;
    const suspended = rig.device.suspend().then((ok) => {
      answered = true;
      return ok;
    });
    await someTurns();
    expect(answered).toBe(false);
    held.release();
    expect(await suspended).toBe(true);
    expect(await first).toMatchObject({ status: 0 });
    const second = rig.driver.blk.read(8, 4096);
    rig.kernel.kick(rig.device.queues[0]!.kickFd);
    const { published } = rig.driver.ring;
    const refused = rig.device.refusedInterrupts;
    expect(await rig.device.updateIotlb()).toBe(true);
    expect(await rig.device.setStatus(0x0f)).toBe(true);
    await rig.device.setVqReady(0, false);
    await rig.device.setVqReady(0, true);
    rig.kernel.kick(rig.device.queues[0]!.kickFd);
    await someTurns();
    expect(rig.driver.ring.published).toBe(published);
    expect(rig.device.refusedInterrupts).toBe(refused);
    expect(rig.driver.blk.status(second)).not.toBe(0);
    await rig.kernel.restartDriver(NAME);
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
  });

  it('leaves queues that can be asked where they are', async () => {
    await using rig = newRig();
    await rig.attach();
    await rig.driver.read(0, 512);
    expect(await rig.device.suspend()).toBe(true);
    const vqState = ring === 'split' ? [2, 0, 0, 0] : [1, 6, 1, 6];
    expect(await rig.device.vqState(0)).toEqual({ ok: true, vqState });
  });

  it('is not ended by a stop, which otherwise serves what waits', async () => {
    await using rig = newRig();
    const handle = await rig.attach();
    expect(await rig.device.suspend()).toBe(true);
    const calls = rig.store.calls.length;
    rig.driver.blk.read(0, 512);
    await handle.quiesce();
    await handle[Symbol.asyncDispose]();
    expect(rig.store.calls).toHaveLength(calls);
  });

  it('holds for the next process when one dies before it has answered', async () => {
    await using rig = newRig();
    await rig.attach();
    holdRequests(rig);
    const first = rig.driver.read(8, 4096);
    await turns(() => rig.store.active === 1);
    const suspended = rig.device.suspend();
    await turns(() => !rig.device.readable);
    rig.kill();
    rig.store.gate = undefined;
    await rig.attach();
    expect(await suspended).toBe(true);
    expect(await first).toMatchObject({ status: 0, data: rig.store.data.subarray(4096, 8192) });
    const calls = rig.store.calls.length;
    rig.driver.blk.read(0, 512);
    rig.kernel.kick(rig.device.queues[0]!.kickFd);
    await someTurns();
    expect(rig.store.calls).toHaveLength(calls);
  });

  it('fails when requests take too long, and the queues go on', async () => {
    await using rig = newRig();
    await rig.attach({ msgTimeout: 20 });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const held = holdRequests(rig);
    const read = rig.driver.read(0, 4096);
    await turns(() => rig.store.active === 1);
    const suspended = rig.device.suspend();
    await turns(() => !rig.device.readable);
    await vi.advanceTimersByTimeAsync(10_100);
    expect(await suspended).toBe(false);
    vi.useRealTimers();
    const second = rig.driver.read(1, 512);
    held.release();
    expect(await read).toMatchObject({ status: 0 });
    expect(await second).toMatchObject({ status: 0 });
  });
});

describe('SET_VQ_GROUP_ASID', () => {
  it.each(['7.0-first', '7.0', '7.3'] as const)(
    'moves the queues to another address space, Linux %s',
    async (kernel) => {
      await using rig = new Rig({ kernel });
      await rig.attach();
      await rig.driver.read(0, 512);
      const { device } = rig;
      [device.regions, device.otherRegions] = [[], device.regions];
      expect(await device.setGroupAsid(0, 1)).toBe(true);
      expect(await device.updateIotlb(1)).toBe(true);
      expect(await rig.driver.read(1, 512)).toMatchObject({
        status: 0,
        data: rig.store.data.subarray(512, 1024),
      });
      [device.regions, device.otherRegions] = [device.otherRegions, undefined];
      expect(await device.setGroupAsid(0, 0)).toBe(true);
      expect(await rig.driver.read(2, 512)).toMatchObject({ status: 0 });
    },
  );
});
