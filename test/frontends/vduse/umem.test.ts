import { constants } from 'node:os';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LAYOUTS } from '../../support/make-ring.ts';
import { Rig, turns } from './rig.ts';

const { ENOTTY, EIO } = constants.errno;

const MIB = 2 ** 20;
const BOUNCE = 8 * MIB;
const IOERR = 1;
/** Of the bounce memory; the scripted driver uses no page so far behind. */
const NEVER_USED = BOUNCE - 4096;
const REG_UMEM = 'ioctl 0x40308118';
const DEREG_UMEM = 'ioctl 0x40308119';
const GET_INFO = 'ioctl 0xc030811a';
const umem = { umem: true, bounceSize: BOUNCE };

/** A read of one sector into `data`. */
function offerRead({ driver, device, kernel }: Rig, data: number): { readonly status: () => number } {
  const { ring } = driver;
  const header = ring.allocate(16);
  ring.at(header, 16).fill(0);
  const status = ring.allocate(1);
  ring.at(status, 1).fill(0xee);
  ring.add([
    { addr: header, len: 16 },
    { addr: data, len: 512, writable: true },
    { addr: status, len: 1, writable: true },
  ]);
  kernel.kick(device.queues[0]!.kickFd);
  return { status: () => ring.at(status, 1)[0]! };
}

// The first test: the others end processes without a word, of which this one would remember what they had.
it('of several disks in a process is limited together', async () => {
  await using rig = new Rig({ config: umem });
  await using other = new Rig({ config: umem });
  rig.kernel.memoryLock = BOUNCE;
  other.kernel.memoryLock = 2 * BOUNCE - 1;
  await rig.attach();
  await expect(other.attach()).rejects.toMatchObject({ code: 'vduse.memory-lock' });
  await rig.stop();
  await other.attach();
});

describe.each(LAYOUTS)('bounce memory of the process, %s ring', (ring) => {
  const config = { ...umem, ring };

  it('takes the place of the kernel’s with the first request, and data goes both ways', async () => {
    await using rig = new Rig({ config });
    const handle = await rig.attach();
    const { bounce } = rig.device;
    expect(bounce).toMatchObject({ registered: true, registrations: 1 });
    const data = new Uint8Array(4096).fill(0x5a);
    expect(await rig.driver.write(8, data)).toMatchObject({ status: 0 });
    expect(rig.store.data.subarray(4096, 8192)).toEqual(data);
    expect(await rig.driver.read(0, 4096, { indirect: true })).toMatchObject({
      status: 0,
      data: rig.store.data.subarray(0, 4096),
    });
    await handle[Symbol.asyncDispose]();
    rig.forget();
    expect(bounce).toMatchObject({ registered: false, registrations: 1 });
  });

  it('is another one for each driver', async () => {
    await using rig = new Rig({ config });
    await rig.attach();
    await rig.kernel.restartDriver('blockgate-disk0');
    expect(await rig.driver.read(1, 512)).toMatchObject({
      status: 0,
      data: rig.store.data.subarray(512, 1024),
    });
    expect(rig.device.bounce).toMatchObject({ registered: true, registrations: 2 });
  });

  it('stays the same when the kernel says that addresses have changed', async () => {
    await using rig = new Rig({ config });
    await rig.attach();
    expect(await rig.device.updateIotlb()).toBe(true);
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
    expect(rig.device.bounce).toMatchObject({ registered: true, registrations: 1 });
  });

  it('goes with the process that dies, and the next one has its own', async () => {
    await using rig = new Rig({ config });
    await rig.attach();
    const gate = Promise.withResolvers<void>();
    rig.store.gate = () => gate.promise;
    const data = new Uint8Array(4096).fill(0xa5);
    const write = rig.driver.write(8, data);
    const read = rig.driver.read(0, 512);
    await turns(() => rig.store.active === 2);
    rig.kill();
    expect(rig.device.bounce.registered).toBe(false);
    rig.store.gate = undefined;
    await rig.attach();
    expect(await write).toMatchObject({ status: 0 });
    expect(await read).toMatchObject({ status: 0, data: rig.store.data.subarray(0, 512) });
    expect(rig.store.data.subarray(4096, 8192)).toEqual(data);
    expect(rig.device.bounce).toMatchObject({ registered: true, registrations: 2 });
    gate.resolve();
  });

  it('may be there after a process without, and the other way round', async () => {
    await using rig = new Rig({ config: { ring, bounceSize: BOUNCE } });
    await rig.attach();
    for (const [mine, registered] of [
      [true, true],
      [false, false],
    ] as const) {
      rig.kill();
      await rig.attach({ umem: mine });
      expect(await rig.driver.read(1, 512)).toMatchObject({
        status: 0,
        data: rig.store.data.subarray(512, 1024),
      });
      expect(rig.device.bounce.registered).toBe(registered);
    }
  });

  it('is as large as the device was made with, whatever the configuration says by now', async () => {
    await using rig = new Rig({ config });
    await rig.attach();
    rig.kill();
    await rig.attach({ bounceSize: 2 * BOUNCE });
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
    expect(rig.device.bounce.registered).toBe(true);
  });

  it('has pages that the kernel’s has not, where a hostile driver names them', async () => {
    for (const [own, status] of [
      [false, IOERR],
      [true, 0],
    ] as const) {
      await using rig = new Rig({ config: { ...config, umem: own } });
      await rig.attach();
      const { published } = rig.driver.ring;
      const request = offerRead(rig, NEVER_USED);
      await turns(() => rig.driver.ring.published > published);
      expect(request.status()).toBe(status);
      rig.driver.ring.takeAllUsed();
      expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
    }
  });

  it('is not there before the driver has mapped anything: whoever names it has its head back', async () => {
    await using rig = new Rig({ config });
    rig.kernel.driverScript = { scans: false };
    await rig.attach();
    offerRead(rig, NEVER_USED);
    await turns(() => rig.driver.ring.published === 1);
    expect(rig.device.bounce.registrations).toBe(0);
    rig.driver.ring.takeAllUsed();
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
    expect(rig.device.bounce.registrations).toBe(1);
  });

  it('costs requests an error when the kernel does not take it after all, and nothing else', async () => {
    await using rig = new Rig({ config });
    rig.kernel.driverScript = { scans: false };
    await rig.attach();
    rig.kernel.memoryLock = 0;
    const failed = rig.driver.blk.read(0, 512);
    rig.driver.mapData();
    rig.driver.notify();
    await turns(() => rig.driver.ring.published === 1);
    expect(rig.driver.ring.takeUsed()).toEqual({ head: failed.head, written: 0 });
    expect(rig.messages('error')).toContain('guest memory cannot be mapped');
    rig.kernel.memoryLock = BOUNCE;
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
  });

  it('is kept for the next driver when the kernel does not give it back', async () => {
    await using rig = new Rig({ config });
    await rig.attach();
    rig.kernel.intercept = (call) => (call === DEREG_UMEM ? -EIO : undefined);
    await rig.kernel.restartDriver('blockgate-disk0');
    rig.kernel.intercept = () => undefined;
    expect(await rig.device.setStatus(0x0f)).toBe(true);
    expect(await rig.driver.read(1, 512)).toMatchObject({
      status: 0,
      data: rig.store.data.subarray(512, 1024),
    });
    expect(rig.device.bounce).toMatchObject({ registered: true, registrations: 1 });
  });

  describe('with a store that does not answer', () => {
    afterEach(() => void vi.useRealTimers());

    it('is out of reach of requests of the last driver', async () => {
      await using rig = new Rig({ config });
      await rig.attach({ msgTimeout: 20 });
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const gate = Promise.withResolvers<void>();
      rig.store.gate = () => gate.promise;
      void rig.driver.read(0, 4096);
      await turns(() => rig.store.active === 1);
      const reset = rig.device.setStatus(0);
      await turns(() => true);
      await vi.advanceTimersByTimeAsync(10_100);
      await reset;
      expect(rig.kernel.detachments).toBeGreaterThan(0);
      expect(rig.device.bounce.registered).toBe(false);
      vi.useRealTimers();
      rig.store.gate = undefined;
      await rig.kernel.restartDriver('blockgate-disk0');
      expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
      const { ring: rings } = rig.driver;
      const before = rings.at(rings.heapStart, 2 ** 16).slice();
      gate.resolve();
      await turns(() => rig.store.active === 0);
      expect(rings.at(rings.heapStart, 2 ** 16)).toEqual(before);
    });
  });
});

describe('a disk that is to have it', () => {
  it('is refused where the process may not pin so much, and told how it may', async () => {
    await using rig = new Rig({ config: umem });
    rig.kernel.memoryLock = BOUNCE - 1;
    await expect(rig.attach()).rejects.toMatchObject({
      code: 'vduse.memory-lock',
      why: expect.stringContaining(`RLIMIT_MEMLOCK is ${BOUNCE - 1} bytes`),
      fix: expect.stringMatching(/LimitMEMLOCK=infinity .* "ulimit -l \d+"/),
    });
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('is refused by a kernel that cannot do it', async () => {
    await using rig = new Rig({ config: umem });
    rig.kernel.intercept = (call) => (call === GET_INFO ? -ENOTTY : undefined);
    await expect(rig.attach()).rejects.toMatchObject({ code: 'vduse.umem-missing' });
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('is no business of the kernel’s unless it was configured', async () => {
    await using rig = new Rig();
    const calls: string[] = [];
    rig.kernel.intercept = (call) => void calls.push(call);
    await rig.attach();
    await rig.stop();
    for (const call of [REG_UMEM, DEREG_UMEM, GET_INFO, 'memfd']) expect(calls).not.toContain(call);
  });
});
