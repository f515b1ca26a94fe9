import { describe, expect, it } from 'vitest';
import { Chain } from '../../../../frontends/virtio/virtq/chain.ts';
import { PackedVirtqueue } from '../../../../frontends/virtio/virtq/packed.ts';
import { POP_BROKEN, POP_EMPTY } from '../../../../frontends/virtio/virtq/virtqueue.ts';
import type { RingBuilderOptions } from '../../../support/driver-ring.ts';
import { PackedRingBuilder } from '../../../support/packed-ring-builder.ts';
import { wholeMemory } from '../blk/queue-rig.ts';

const ELEMENT = { addr: 0x12000, len: 16 };
const NEXT = 1;
const WRITE = 2;
const AVAIL = 0x80;
const USED = 0x8000;

function setUp(options: RingBuilderOptions = {}) {
  const ring = new PackedRingBuilder(options);
  const { eventIdx = true } = options;
  const queue = new PackedVirtqueue(ring.geometry, wholeMemory(ring), { eventIdx, indirect: true });
  const chain = new Chain(ring.num);
  const add = (slots = 1) => ring.add(Array(slots).fill(ELEMENT));
  /** Takes one chain, and gives it back at once. */
  const serve = () => {
    const head = queue.pop(chain);
    queue.push(head, 0);
    queue.publish();
  };
  const flagsOf = (slot: number) => ring.view.getUint16(16 * slot + 14, true);
  return { ring, queue, chain, add, serve, flagsOf };
}

describe('a packed virtqueue', () => {
  it('hands out lists in the order they were made available, by their buffer id', () => {
    const { queue, chain, add } = setUp();
    const heads = [add(3), add(), add(2)];
    expect([queue.pop(chain), queue.pop(chain), queue.pop(chain)]).toEqual(heads);
    expect(queue.pop(chain)).toBe(POP_EMPTY);
    expect(queue.state).toEqual({
      layout: 'packed',
      avail: { index: 6, wrap: 1 },
      used: { index: 0, wrap: 1 },
    });
  });

  it('copies the list: what the driver changes afterwards is not seen', () => {
    const { ring, queue, chain } = setUp();
    ring.add([
      { addr: 0x12345, len: 16 },
      { addr: 0x20000, len: 32, writable: true },
    ]);
    queue.pop(chain);
    ring.bytes.fill(0xff, 0, 16 * ring.num);
    expect({ count: chain.count, readable: chain.readable, first: chain.addr[0] }).toEqual({
      count: 2,
      readable: 1,
      first: 0x12345,
    });
    expect(chain.lastWritable).toBe(0x2001f);
  });

  it('shows used lists when they are published, in the order they were pushed', () => {
    const { ring, queue, chain, add } = setUp();
    const heads = [add(2), add(3), add()];
    for (let i = 0; i < 3; i++) queue.pop(chain);
    queue.push(heads[1]!, 7);
    queue.push(heads[2]!, 0);
    queue.push(heads[0]!, 1);
    expect(ring.takeUsed()).toBeUndefined();
    queue.publish();
    expect(ring.takeAllUsed()).toEqual([
      { head: heads[1], written: 7 },
      { head: heads[2], written: 0 },
      { head: heads[0], written: 1 },
    ]);
    expect(queue.state.used).toEqual({ index: 6, wrap: 1 });
  });

  it('marks the first of a batch last', () => {
    const { queue, chain, add, flagsOf } = setUp();
    const heads = [add(), add()];
    queue.pop(chain);
    queue.pop(chain);
    queue.push(heads[0]!, 5);
    queue.push(heads[1]!, 0);
    expect([flagsOf(0), flagsOf(1)]).toEqual([AVAIL, AVAIL | USED]);
    queue.publish();
    expect([flagsOf(0), flagsOf(1)]).toEqual([AVAIL | USED | WRITE, AVAIL | USED]);
    // What is published belongs to the driver.
    queue.publish();
    expect(flagsOf(2)).toBe(0);
  });

  it.each([1, 3, 5, 8])('goes on from lap to lap, with %i entries', (num) => {
    const { ring, queue, add, serve } = setUp({ num, index: 2 * num - 1 });
    for (let i = 0; i < 40; i++) {
      const head = add(1 + (i % num));
      serve();
      expect(ring.takeUsed()!.head).toBe(head);
    }
    const { avail, used } = queue.state;
    expect(avail).toEqual(used);
    expect(avail).toEqual(ring.next);
  });

  it('takes a list that goes over the end of the ring', () => {
    const { ring, queue, chain, serve, add } = setUp({ num: 5, index: 3 });
    const first = add(4);
    expect(queue.pop(chain)).toBe(first);
    expect(chain).toMatchObject({ count: 4, defect: undefined });
    expect(queue.state.avail).toEqual({ index: 2, wrap: 0 });
    queue.push(first, 0);
    queue.publish();
    expect(ring.takeUsed()!.head).toBe(first);
    add(5);
    serve();
    expect(ring.takeAllUsed()).toHaveLength(1);
  });

  it('takes as many lists at once as it has entries, of the largest size there is', () => {
    const num = 32_768;
    const { queue, chain, add } = setUp({ num, index: num + 5 });
    for (let i = 0; i < num; i++) add();
    for (let i = 0; i < num; i++) expect(queue.pop(chain)).toBeGreaterThanOrEqual(0);
    expect(queue.pop(chain)).toBe(POP_EMPTY);
    expect(queue.state.avail).toEqual({ index: 5, wrap: 1 });
  });

  it('does not take what earlier laps have left', () => {
    const { ring, queue, chain } = setUp({ num: 4, index: 6 });
    expect(queue.pop(chain)).toBe(POP_EMPTY);
    ring.setFlags(2, AVAIL);
    expect(queue.pop(chain)).toBe(POP_EMPTY);
    ring.setFlags(2, USED);
    expect(queue.pop(chain)).toBeGreaterThanOrEqual(0);
  });

  it('goes on where a predecessor stopped, requests in flight included', () => {
    const { ring, queue, chain, add } = setUp({ num: 4, index: 3 });
    add(2);
    queue.pop(chain);
    const state = queue.state;
    expect(state).toMatchObject({ avail: { index: 1, wrap: 0 }, used: { index: 3, wrap: 1 } });
    const next = new PackedVirtqueue({ ...ring.geometry, state }, wholeMemory(ring), {
      eventIdx: true,
      indirect: true,
    });
    expect(next.state).toEqual(state);
    // Two of four descriptors are in flight still: a list of three is more than the driver can have.
    ring.addRaw(1, Array(3).fill(ELEMENT));
    expect(next.pop(chain)).toBe(POP_BROKEN);
  });
});

describe('a corrupt packed ring', () => {
  it.each<[string, string, (ring: PackedRingBuilder) => void]>([
    [
      'a buffer id out of range',
      'a list has buffer id 8 in a ring of 8',
      (ring) => ring.addRaw(8, [ELEMENT]),
    ],
    [
      'a list whose next descriptor was never made available',
      'a list goes on with a descriptor that is not available',
      (ring) => ring.addRaw(0, [{ ...ELEMENT, flags: NEXT }]),
    ],
    [
      'a list whose next descriptor is of the lap before',
      'a list goes on with a descriptor that is not available',
      (ring) => {
        ring.addRaw(0, [ELEMENT, ELEMENT]);
        ring.setFlags(1, USED);
      },
    ],
    [
      'a list without an end',
      'more descriptors are available than the ring has',
      (ring) => ring.addRaw(0, Array(8).fill({ ...ELEMENT, flags: NEXT })),
    ],
  ])('is found out: %s', (_, reason, corrupt) => {
    const { ring, queue, chain } = setUp({ num: 8 });
    corrupt(ring);
    expect(queue.pop(chain)).toBe(POP_BROKEN);
    expect(queue.brokenReason).toBe(reason);
    // Nothing mends it, and it takes nothing.
    ring.bytes.fill(0, 0, 16 * 8);
    expect(queue.pop(chain)).toBe(POP_BROKEN);
    expect(queue.state.avail).toEqual({ index: 0, wrap: 1 });
  });

  it('is found out when a buffer id is in flight, which is given back all the same', () => {
    const { ring, queue, chain, add } = setUp({ num: 8 });
    const head = add(3);
    queue.pop(chain);
    ring.addRaw(head, [ELEMENT]);
    expect(queue.pop(chain)).toBe(POP_BROKEN);
    expect(queue.brokenReason).toBe(`a list has buffer id ${head}, whose request is in flight`);
    queue.push(head, 0);
    queue.publish();
    expect(ring.takeAllUsed()).toEqual([{ head, written: 0 }]);
    expect(queue.state.used).toEqual({ index: 3, wrap: 1 });
  });

  it('is found out when more is made available than was given back', () => {
    const { ring, queue, chain, add } = setUp({ num: 8 });
    for (const slots of [3, 3, 2]) add(slots);
    for (let i = 0; i < 3; i++) queue.pop(chain);
    ring.addRaw(1, [ELEMENT]);
    expect(queue.pop(chain)).toBe(POP_BROKEN);
    expect(queue.brokenReason).toBe('more descriptors are available than the ring has');
  });
});

describe('interrupts of a packed virtqueue', () => {
  it('are due the first time, whatever the driver asks for', () => {
    const { ring, queue, add, serve } = setUp();
    expect(queue.needsInterrupt()).toBe(false);
    ring.setEvent({ index: 10, wrap: 1 });
    add();
    serve();
    expect(queue.needsInterrupt()).toBe(true);
  });

  it.each([
    ['ahead', { index: 3, wrap: 1 as const }, [true, false, false, true, false, false, false, false, false]],
    // Eight entries: the second lap begins with the ninth.
    ['in the next lap', { index: 0, wrap: 0 as const }, [...[true], ...Array(7).fill(false), true]],
    ['far ahead', { index: 5, wrap: 0 as const }, [true, ...Array(8).fill(false)]],
  ])('are due once when the device uses the descriptor the driver waits for: %s', (_, event, expected) => {
    const { ring, queue, add, serve } = setUp({ num: 8 });
    ring.setEvent(event);
    const wanted = expected.map(() => {
      add();
      serve();
      ring.takeUsed();
      return queue.needsInterrupt();
    });
    expect(wanted).toEqual(expected);
  });

  it('are due for a batch, or a list, that passes the descriptor somewhere', () => {
    const { ring, queue, add, serve } = setUp({ num: 8, index: 6 });
    add();
    serve();
    ring.takeUsed();
    queue.needsInterrupt();
    ring.setEvent({ index: 2, wrap: 0 });
    add(6);
    serve();
    expect(queue.needsInterrupt()).toBe(true);
    expect(queue.needsInterrupt()).toBe(false);
  });

  it('are due for a batch as long as the ring', () => {
    const { ring, queue, add, serve } = setUp({ num: 4 });
    for (let lap = 0; lap < 2; lap++) {
      ring.setEvent({ index: 0, wrap: lap === 0 ? 1 : 0 });
      add(4);
      serve();
      ring.takeUsed();
      expect(queue.needsInterrupt()).toBe(true);
    }
  });

  it.each([true, false])('follow the flag, event index %s', (eventIdx) => {
    const { ring, queue, add, serve } = setUp({ eventIdx });
    const wanted = () => {
      add();
      serve();
      ring.takeUsed();
      return queue.needsInterrupt();
    };
    wanted();
    ring.setNoInterrupt(false);
    expect(wanted()).toBe(true);
    ring.setNoInterrupt(true);
    expect(wanted()).toBe(false);
    ring.setNoInterrupt(false);
    expect(wanted()).toBe(true);
  });

  it('are sent rather than not when the driver asks for something that was not negotiated', () => {
    const { ring, queue, add, serve } = setUp({ eventIdx: false });
    ring.setEvent({ index: 9, wrap: 1 });
    for (let i = 0; i < 2; i++) {
      add();
      serve();
      expect(queue.needsInterrupt()).toBe(true);
    }
  });
});

describe.each([true, false])('kicks of a packed virtqueue, event index %s', (eventIdx) => {
  it('are not wanted while the device is busy, and wanted when it sleeps, in every lap', () => {
    const { ring, queue, add, serve } = setUp({ eventIdx, num: 5 });
    for (let i = 0; i < 12; i++) {
      expect(queue.enableKicks()).toBe(false);
      add();
      expect(ring.needsKick()).toBe(true);
      queue.disableKicks();
      add(2);
      expect(ring.needsKick()).toBe(false);
      serve();
      serve();
      expect(ring.takeAllUsed()).toHaveLength(2);
    }
  });

  it('that were not sent are made up for by looking again', () => {
    const { queue, chain, add } = setUp({ eventIdx });
    queue.disableKicks();
    expect(queue.pop(chain)).toBe(POP_EMPTY);
    add();
    expect(queue.enableKicks()).toBe(true);
  });
});

describe('a packed virtqueue that cannot be used', () => {
  const ring = new PackedRingBuilder({ num: 12 });
  const { geometry } = ring;
  const end = ring.base + ring.buffer.byteLength;
  const at = (index: number, wrap: 0 | 1) => ({ index, wrap });
  it.each([
    [{ num: 0 }, 'A packed virtqueue cannot have 0 entries: 1 to 32768 can be.'],
    [{ num: 32_769 }, 'A packed virtqueue cannot have 32769 entries: 1 to 32768 can be.'],
    [{ descAddr: 0 }, 'The descriptor ring (192 bytes at 0x0) is not in memory the device may use.'],
    [
      { descAddr: end - 16 },
      'The descriptor ring (192 bytes at 0x10fff0) reaches beyond its region of memory.',
    ],
    [
      { descAddr: geometry.descAddr + 8 },
      'The descriptor ring (192 bytes at 0x10008) is not aligned to 16 bytes.',
    ],
    [
      { driverAddr: geometry.driverAddr + 2 },
      "The driver's event suppression (4 bytes at 0x11002) is not aligned to 4 bytes.",
    ],
    [
      { deviceAddr: 8 },
      "The device's event suppression (4 bytes at 0x8) is not in memory the device may use.",
    ],
    [
      { state: { layout: 'packed' as const, avail: at(12, 1), used: at(12, 1) } },
      'A ring of 12 entries cannot stand at 12 (wrap counter 1) for available and 12 (wrap counter 1) for used descriptors.',
    ],
    [
      { state: { layout: 'packed' as const, avail: at(1, 1), used: at(2, 1) } },
      'A ring of 12 entries cannot stand at 1 (wrap counter 1) for available and 2 (wrap counter 1) for used descriptors.',
    ],
    [
      { state: { layout: 'packed' as const, avail: at(3, 0), used: at(2, 1) } },
      'A ring of 12 entries cannot stand at 3 (wrap counter 0) for available and 2 (wrap counter 1) for used descriptors.',
    ],
  ])('is refused: %j', (change, why) => {
    const make = () =>
      new PackedVirtqueue({ ...geometry, ...change }, wholeMemory(ring), { eventIdx: true, indirect: true });
    expect(make).toThrow(expect.objectContaining({ code: 'virtio.bad-ring', why }));
  });
});

describe('the driver of these tests', () => {
  it.each([5, 4711])('complains about a used id that was never made available, as Linux does: %i', (id) => {
    const { ring, queue, add, serve } = setUp();
    add();
    serve();
    ring.view.setUint16(12, id, true);
    expect(() => ring.takeUsed()).toThrow(`id ${id} is not a head!`);
    expect(queue.brokenReason).toBeUndefined();
  });
});
