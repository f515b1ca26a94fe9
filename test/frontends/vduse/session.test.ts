import { afterEach, describe, expect, it, vi } from 'vitest';
import type { RingLayout } from '../../../frontends/virtio/virtq/ring-state.ts';
import type { KernelGeneration } from '../../support/kernel-generation.ts';
import { Rig, turns } from './rig.ts';

/** Both layouts, the oldest kernel and the newest, and each of them with the other. */
const VARIANTS: readonly [RingLayout, KernelGeneration][] = [
  ['split', '6.12'],
  ['packed', '6.12'],
  ['split', '7.0'],
  ['split', '7.3'],
  ['packed', '7.3'],
];

const SET_STATUS_RESET = 0;

/** Holds every request of the store until told. */
function holdRequests(rig: Rig): { release(): void } {
  const gate = Promise.withResolvers<void>();
  rig.store.gate = () => gate.promise;
  return { release: gate.resolve };
}

describe.each(VARIANTS)('a reset by the driver, %s ring, Linux %s', (ring, kernel) => {
  it('is answered once the requests in flight have settled, and their completions are dropped', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    await rig.attach();
    const held = holdRequests(rig);
    void rig.driver.read(0, 4096);
    await turns(() => rig.store.active === 1);
    const published = rig.driver.ring.published;
    let answered = false;
    const reset = rig.device.setStatus(SET_STATUS_RESET).then(() => {
      answered = true;
    });
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(answered).toBe(false);
    held.release();
    await reset;
    expect(rig.driver.ring.published).toBe(published);
    expect(rig.kernel.mappings).toBe(0);
  });

  it('drops kicks, mappings and interrupts, and a driver may start again', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    await rig.attach();
    await rig.kernel.restartDriver('blockgate-disk0');
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
    expect(rig.kernel.leaks.filter((leak) => leak === 'fd of eventfd')).toHaveLength(1);
  });

  it('does not end a pause either: a driver that starts then is served later', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    const handle = await rig.attach();
    await handle.quiesce();
    rig.kernel.driverScript = { scans: false };
    await rig.kernel.restartDriver('blockgate-disk0');
    const read = rig.driver.read(0, 512);
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(rig.driver.outstanding).toBe(1);
    await handle[Symbol.asyncDispose]();
    expect(await read).toMatchObject({ status: 0 });
  });

  it('tolerates DRIVER_OK twice', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    await rig.attach();
    expect(await rig.device.setStatus(0x0f)).toBe(true);
    expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
  });

  describe('with a store that does not answer', () => {
    afterEach(() => void vi.useRealTimers());

    it('takes the memory away from requests in flight after half of msg_timeout', async () => {
      await using rig = new Rig({ config: { ring }, kernel });
      await rig.attach({ msgTimeout: 20 });
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const held = holdRequests(rig);
      void rig.driver.read(0, 4096);
      await turns(() => rig.store.active === 1);
      let answered = false;
      const reset = rig.device.setStatus(SET_STATUS_RESET).then(() => {
        answered = true;
      });
      await vi.advanceTimersByTimeAsync(9_900);
      await turns(() => true);
      expect(answered).toBe(false);
      await vi.advanceTimersByTimeAsync(200);
      await reset;
      expect(rig.kernel.detachments).toBeGreaterThan(0);
      expect(rig.messages('warn')).toContain('requests were still in flight; their memory was taken away');
      // The store answers at last: into nowhere, and then the mappings go.
      const { ring: rings } = rig.driver;
      const memory = () => Buffer.concat([rings.bytes, rings.at(rings.heapStart, 2 ** 16)]);
      const before = memory();
      held.release();
      await turns(() => rig.kernel.mappings === 0);
      expect(memory().equals(before)).toBe(true);
      vi.useRealTimers();
    });

    it('answers UPDATE_IOTLB with a failure after half of msg_timeout, and goes on afterwards', async () => {
      await using rig = new Rig({ config: { ring }, kernel });
      await rig.attach({ msgTimeout: 20 });
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const held = holdRequests(rig);
      const read = rig.driver.read(0, 4096);
      await turns(() => rig.store.active === 1);
      const updated = rig.device.updateIotlb();
      await turns(() => true);
      await vi.advanceTimersByTimeAsync(10_100);
      expect(await updated).toBe(false);
      held.release();
      expect(await read).toMatchObject({ status: 0 });
      rig.store.gate = undefined;
      expect(await rig.driver.read(1, 512)).toMatchObject({ status: 0 });
      vi.useRealTimers();
    });
  });
});

describe.each(VARIANTS)('UPDATE_IOTLB, %s ring, Linux %s', (ring, kernel) => {
  it('waits for requests in flight, maps anew, and loses nothing', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    await rig.attach();
    const held = holdRequests(rig);
    const first = rig.driver.read(0, 4096);
    await turns(() => rig.store.active === 1);
    const updated = rig.device.updateIotlb();
    const second = rig.driver.read(8, 4096);
    held.release();
    expect(await updated).toBe(true);
    expect(await first).toMatchObject({ status: 0 });
    expect((await second).data).toEqual(rig.store.data.subarray(4096, 8192));
  });

  it('that takes the rings away during a pause ends the service, and nothing else', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    await handle.quiesce();
    rig.device.regions = [];
    expect(await rig.device.updateIotlb()).toBe(true);
    // Stopping serves requests once more, so that the page cache can be written back.
    await rig.stop();
    expect(rig.messages('error')).toContain('virtqueue stopped');
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('does not end a pause', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    const handle = await rig.attach();
    await handle.quiesce();
    expect(await rig.device.updateIotlb()).toBe(true);
    const read = rig.driver.read(0, 512);
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(rig.driver.outstanding).toBe(1);
    await handle[Symbol.asyncDispose]();
    expect(await read).toMatchObject({ status: 0 });
  });

  it('makes regions that are gone unusable', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    await rig.attach();
    rig.device.regions.pop();
    expect(await rig.device.updateIotlb()).toBe(true);
    const { published } = rig.driver.ring;
    const request = rig.driver.blk.read(0, 512);
    rig.kernel.kick(rig.device.queues[0]!.kickFd);
    await turns(() => rig.driver.ring.published > published);
    expect(rig.driver.ring.takeUsed()).toEqual({ head: request.head, written: 0 });
  });
});

describe.each(VARIANTS)('GET_VQ_STATE, %s ring, Linux %s', (ring, kernel) => {
  it('stops the queue and answers where a successor goes on', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    await rig.attach();
    for (let i = 0; i < 4; i++) await rig.driver.read(i, 512);
    // Four reads here, and that of the partition scan.
    const vqState = ring === 'split' ? [5, 0, 0, 0] : [1, 15, 1, 15];
    expect(await rig.device.vqState(0)).toEqual({ ok: true, vqState });
    rig.driver.blk.read(0, 512);
    rig.kernel.kick(rig.device.queues[0]!.kickFd);
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(rig.driver.ring.published).toBe(5);
  });

  it('answers where the driver has started while no queue is set up', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    await rig.attach();
    await rig.device.setStatus(SET_STATUS_RESET);
    rig.device.features = rig.device.offered;
    rig.device.queues[0]!.state = [1, 7, 0, 8];
    const vqState = ring === 'split' ? [1, 0, 0, 0] : [1, 7, 0, 8];
    expect(await rig.device.vqState(0)).toEqual({ ok: true, vqState });
  });

  it('fails for a queue that there is not', async () => {
    await using rig = new Rig({ config: { ring }, kernel });
    await rig.attach();
    expect(await rig.device.vqState(7)).toMatchObject({ ok: false });
  });
});

describe('messages', () => {
  it('are refused when they are of an unknown type', async () => {
    await using rig = new Rig();
    await rig.attach();
    expect(await rig.device.send(99, () => {})).toMatchObject({ ok: false });
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });

  it('whose answer nobody waits for any more are no trouble', async () => {
    await using rig = new Rig();
    await rig.attach();
    rig.kernel.intercept = (call) => {
      if (call === 'write') rig.device.forgetMessages();
      return undefined;
    };
    void rig.device.setStatus(1);
    await turns(() => !rig.device.readable);
    rig.kernel.intercept = () => undefined;
    expect(await rig.device.setStatus(0x0f)).toBe(true);
  });

  it.each([
    ['too short', 100],
    ['a failure of the system call', -5],
  ])('that cannot be read end the disk: %s', async (_name, result) => {
    await using rig = new Rig();
    const handle = await rig.attach();
    rig.kernel.intercept = (call) => (call === 'read' ? result : undefined);
    void rig.device.setStatus(1);
    expect(await handle.closed).toMatchObject({ code: 'vduse.messages-failed' });
    rig.kernel.intercept = () => undefined;
    rig.device.break();
  });
});
