import { describe, expect, it } from 'vitest';
import { NO_STATUS } from '../../../support/blk-driver.ts';
import { LAYOUTS } from '../../../support/make-ring.ts';
import { pattern, QueueRig, type RigOptions } from './queue-rig.ts';

/** A rig whose requests wait until `release`. */
function heldRig(options: RigOptions) {
  const rig = new QueueRig(options);
  const held = Promise.withResolvers<void>();
  rig.device.gate = () => held.promise;
  return { rig, release: () => held.resolve() };
}

describe.each(LAYOUTS)('a stopped queue, %s ring', (layout) => {
  it('takes nothing more, completes what it has, and then lets go of the memory', async () => {
    const { rig, release } = heldRig({ layout });
    const request = rig.driver.read(0, 512);
    rig.run();
    rig.queue.stop();
    rig.driver.read(1, 512);
    rig.run();
    expect(rig.queue.inFlight).toBe(1);
    expect(rig.memory.pins).toBe(1);
    release();
    await rig.queue.drain();
    expect(rig.queue.inFlight).toBe(0);
    expect(rig.ring.takeAllUsed()).toEqual([{ head: request.head, written: 513 }]);
    expect(rig.memory.pins).toBe(0);
  });

  it('hands over to a successor, which loses nothing and repeats nothing', async () => {
    const first = new QueueRig({ layout, num: 16, index: 65534 });
    first.driver.read(0, 512);
    first.driver.read(1, 512);
    first.run();
    first.driver.read(2, 512);
    first.queue.stop();
    await first.queue.drain();
    const state = first.queue.ringState;
    expect(state).not.toEqual(first.ring.geometry.state);

    const ring = { ...first.ring.geometry, state };
    const second = new QueueRig({
      layout,
      num: 16,
      queue: { ring, memory: first.memory, volume: first.volume },
    });
    second.run();
    expect(first.device.calls.map((call) => call.offset)).toEqual([0, 512, 1024]);
    expect(first.ring.takeAllUsed()).toHaveLength(3);
  });

  it('drains at once when nothing is in flight', async () => {
    const rig = new QueueRig({ layout });
    rig.queue.stop();
    await rig.queue.drain();
    expect(rig.memory.pins).toBe(0);
  });
});

describe.each(LAYOUTS)('an abandoned queue, %s ring', (layout) => {
  it('never touches the memory of the driver again', async () => {
    const { rig, release } = heldRig({ layout });
    const request = rig.driver.write(0, pattern(512));
    rig.run();
    rig.queue.abandon();
    const before = rig.ring.bytes.slice();
    release();
    await rig.queue.drain();
    expect(Buffer.compare(rig.ring.bytes, before)).toBe(0);
    expect(rig.driver.status(request)).toBe(NO_STATUS);
    expect(rig.interrupts).toBe(0);
  });

  it('keeps the memory mapped until the last request has ended, and not longer', async () => {
    const { rig, release } = heldRig({ layout });
    rig.driver.write(0, pattern(512));
    rig.run();
    rig.queue.abandon();
    const retired = rig.memory.retire();
    expect(rig.ring.buffer.detached).toBe(false);
    release();
    await retired;
    expect(rig.ring.buffer.detached).toBe(true);
    expect(rig.queue.inFlight).toBe(0);
  });

  it('starts no further segment of a request', async () => {
    const { rig, release } = heldRig({ layout });
    rig.driver.ranges(13, [
      { sector: 0, count: 1 },
      { sector: 1, count: 1 },
    ]);
    rig.run();
    rig.queue.abandon();
    release();
    await rig.queue.drain();
    expect(rig.device.calls).toHaveLength(1);
  });

  it('drops completions that were not published yet', async () => {
    const { rig, release } = heldRig({ layout });
    rig.driver.read(0, 512);
    rig.driver.read(1, 512);
    rig.run();
    release();
    await rig.volume.drain();
    rig.queue.abandon();
    await rig.queue.drain();
    expect(rig.queue.inFlight).toBe(0);
  });
});

describe.each(LAYOUTS)('a busy queue, %s ring', (layout) => {
  it('gives others their turn after 256 requests, and needs no kick to go on', () => {
    const rig = new QueueRig({ layout, num: 512, memory: 4 * 2 ** 20 });
    for (let i = 0; i < 300; i++) rig.ring.add([{ addr: 0, len: 0 }]);
    rig.queue.process();
    expect(rig.ring.takeAllUsed()).toHaveLength(256);
    expect(rig.scheduled).toHaveLength(1);
    rig.queue.process();
    expect(rig.ring.takeAllUsed()).toHaveLength(0);
    rig.scheduled.shift()!();
    expect(rig.ring.takeAllUsed()).toHaveLength(44);
    expect(rig.scheduled).toHaveLength(0);
  });

  it('gives others their turn after 8 MiB', () => {
    const rig = new QueueRig({ layout, num: 64, size: 16 * 2 ** 20, memory: 16 * 2 ** 20 });
    for (let i = 0; i < 10; i++) rig.driver.read(0, 2 ** 20);
    rig.queue.process();
    expect(rig.ring.takeAllUsed()).toHaveLength(8);
    rig.run();
    rig.scheduled.shift()?.();
    expect(rig.ring.takeAllUsed()).toHaveLength(2);
  });

  it('gives others their turn after 8 MiB that were refused: they were looked at all the same', () => {
    const rig = new QueueRig({ num: 64, memory: 2 ** 20 });
    const header = { addr: rig.ring.allocate(16), len: 16 };
    const status = { addr: rig.ring.allocate(1), len: 1, writable: true };
    const payload = { addr: rig.ring.base, len: 2 ** 20, writable: true };
    const beyond = { ...payload, addr: rig.ring.base + 512 };
    for (let i = 0; i < 9; i++) rig.ring.addIndirect([header, payload, beyond, status]);
    rig.queue.process();
    expect(rig.ring.takeAllUsed().length).toBeLessThan(9);
    expect(rig.scheduled).toHaveLength(1);
  });

  it('that is stopped between its turns does not go on', () => {
    const rig = new QueueRig({ layout, num: 512 });
    for (let i = 0; i < 300; i++) rig.ring.add([{ addr: 0, len: 0 }]);
    rig.queue.process();
    rig.queue.stop();
    rig.scheduled.shift()!();
    expect(rig.ring.takeAllUsed()).toHaveLength(256);
  });

  it('shows completions every 8, while it works', () => {
    const rig = new QueueRig({ layout, num: 128 });
    const published: number[] = [];
    rig.device.gate = () => void published.push(rig.ring.published);
    for (let i = 0; i < 18; i++) rig.driver.read(i, 512);
    rig.run();
    expect(published).toEqual([...Array(8).fill(0), ...Array(8).fill(8), 16, 16]);
    expect(rig.ring.published).toBe(18);
  });

  it('shows completions every 64 KiB, while it works', () => {
    const rig = new QueueRig({ layout, num: 128 });
    const published: number[] = [];
    rig.device.gate = () => void published.push(rig.ring.published);
    for (let i = 0; i < 4; i++) rig.driver.read(0, 32768);
    rig.run();
    expect(published).toEqual([0, 0, 2, 2]);
  });

  it('interrupts a driver that sleeps once for a whole batch', () => {
    const rig = new QueueRig({ layout, num: 128 });
    rig.driver.read(0, 512);
    rig.run();
    rig.ring.takeAllUsed();
    rig.ring.enableInterrupts();
    rig.interrupts = 0;
    for (let i = 0; i < 32; i++) rig.driver.read(i, 512);
    rig.run();
    expect(rig.interrupts).toBe(1);
  });

  it('publishes together what completes together', async () => {
    const { rig, release } = heldRig({ layout, num: 128 });
    for (let i = 0; i < 6; i++) rig.driver.read(i, 512);
    rig.run();
    release();
    await rig.queue.drain();
    expect(rig.ring.takeAllUsed()).toHaveLength(6);
    expect(rig.interrupts).toBe(1);
  });

  it('shows what completed at once although others stay in flight', async () => {
    const rig = new QueueRig({ layout });
    const held = Promise.withResolvers<void>();
    rig.device.gate = (call) => (call.offset === 0 ? held.promise : undefined);
    rig.driver.read(0, 512);
    const second = rig.driver.read(1, 512);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head: second.head, written: 513 }]);
    held.resolve();
    await rig.queue.drain();
  });

  it('shows what completed later although others stay in flight', async () => {
    const rig = new QueueRig({ layout });
    const held = Promise.withResolvers<void>();
    rig.device.gate = (call) => (call.offset === 0 ? held.promise : Promise.resolve());
    rig.driver.read(0, 512);
    const second = rig.driver.read(1, 512);
    rig.run();
    await expect.poll(() => rig.ring.takeAllUsed()).toEqual([{ head: second.head, written: 513 }]);
    expect(rig.interrupts).toBe(1);
    held.resolve();
    await rig.queue.drain();
  });

  it.each([true, false])('wants no kick before it sleeps, event index %s', (eventIdx) => {
    const rig = new QueueRig({ layout, eventIdx });
    rig.driver.flush();
    rig.run();
    const kicks: boolean[] = [];
    rig.device.gate = () => {
      rig.ring.needsKick();
      if (kicks.length < 3) rig.driver.flush();
      kicks.push(rig.ring.needsKick());
    };
    rig.driver.flush();
    rig.run();
    expect(kicks).toEqual([false, false, false, false]);
    rig.driver.flush();
    expect(rig.ring.needsKick()).toBe(true);
  });

  it('takes chains that come while it serves others', () => {
    const rig = new QueueRig({ layout });
    let more = 3;
    rig.device.gate = () => {
      if (more-- > 0) rig.driver.read(0, 512);
    };
    rig.driver.read(0, 512);
    rig.run();
    expect(rig.ring.takeAllUsed()).toHaveLength(4);
  });
});

describe.each(LAYOUTS)('a driver that answers an interrupt with another request, %s ring', (layout) => {
  it.each([true, false])('need not kick, and is served, event index %s', (eventIdx) => {
    let left = 3;
    const notify = () => {
      rig.ring.takeAllUsed();
      rig.ring.enableInterrupts();
      if (left-- === 0) return;
      rig.driver.read(0, 512);
      if (rig.ring.needsKick()) rig.queue.process();
    };
    const rig = new QueueRig({ layout, eventIdx, queue: { notify } });
    rig.driver.read(0, 512);
    rig.run();
    expect(rig.device.calls).toHaveLength(4);
    expect(rig.ring.outstanding).toBe(0);
  });
});
