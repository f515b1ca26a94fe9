import { describe, expect, it } from 'vitest';
import { Chain } from '../../../../frontends/virtio/virtq/chain.ts';
import { SplitVirtqueue } from '../../../../frontends/virtio/virtq/split.ts';
import { POP_BROKEN, POP_EMPTY } from '../../../../frontends/virtio/virtq/virtqueue.ts';
import type { RingBuilderOptions } from '../../../support/driver-ring.ts';
import { RingBuilder } from '../../../support/ring-builder.ts';
import { wholeMemory } from '../blk/queue-rig.ts';

function setUp(options: RingBuilderOptions = {}) {
  const ring = new RingBuilder(options);
  const { eventIdx = true } = options;
  const queue = new SplitVirtqueue(ring.geometry, wholeMemory(ring), { eventIdx, indirect: true });
  const chain = new Chain(ring.num);
  const add = () => ring.add([{ addr: ring.base, len: 16 }]);
  /** Takes one chain, and gives it back at once. */
  const serve = () => {
    const head = queue.pop(chain);
    queue.push(head, 0);
    queue.publish();
  };
  return { ring, queue, chain, add, serve };
}

describe('a split virtqueue', () => {
  it('hands out chains in the order they were made available', () => {
    const { queue, chain, add } = setUp();
    const heads = [add(), add(), add()];
    expect([queue.pop(chain), queue.pop(chain), queue.pop(chain)]).toEqual(heads);
    expect(queue.pop(chain)).toBe(POP_EMPTY);
    expect(queue.state).toEqual({ layout: 'split', availIndex: 3 });
  });

  it('copies the chain: what the driver changes afterwards is not seen', () => {
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

  it('shows used chains when they are published, in the order they were pushed', () => {
    const { ring, queue, chain, add } = setUp();
    const heads = [add(), add()];
    queue.pop(chain);
    queue.pop(chain);
    queue.push(heads[1]!, 7);
    queue.push(heads[0]!, 0);
    expect(ring.takeUsed()).toBeUndefined();
    queue.publish();
    expect(ring.takeAllUsed()).toEqual([
      { head: heads[1], written: 7 },
      { head: heads[0], written: 0 },
    ]);
  });

  it('goes on past 65535', () => {
    const { ring, queue, add, serve } = setUp({ num: 4, index: 65530 });
    for (let i = 0; i < 20; i++) {
      const head = add();
      serve();
      expect(ring.takeUsed()!.head).toBe(head);
    }
    expect(queue.state.availIndex).toBe((65530 + 20) & 0xffff);
  });

  it('takes as many chains at once as it has entries', () => {
    const { queue, chain, add } = setUp({ num: 8, index: 65533 });
    for (let i = 0; i < 8; i++) add();
    for (let i = 0; i < 8; i++) expect(queue.pop(chain)).toBeGreaterThanOrEqual(0);
    expect(queue.pop(chain)).toBe(POP_EMPTY);
  });

  it('breaks when the available index jumps further than the queue is long', () => {
    const { ring, queue, chain } = setUp({ num: 8, index: 5 });
    ring.setAvailIndex(14);
    expect(queue.pop(chain)).toBe(POP_BROKEN);
    expect(queue.brokenReason).toBe(
      'the available index went from 5 to 14, more than the 8 entries of the queue',
    );
  });

  it('breaks when the available index goes back', () => {
    const { ring, queue, chain } = setUp({ num: 8, index: 5 });
    ring.setAvailIndex(4);
    expect(queue.pop(chain)).toBe(POP_BROKEN);
  });

  it('breaks on a head outside the table', () => {
    const { ring, queue, chain } = setUp({ num: 8 });
    ring.offerRaw(8);
    expect(queue.pop(chain)).toBe(POP_BROKEN);
    expect(queue.brokenReason).toBe('the available ring names descriptor 8 of a table of 8');
  });
});

describe('interrupts of a split virtqueue', () => {
  it('are due the first time, whatever the driver asks for', () => {
    const { ring, queue, add, serve } = setUp();
    ring.setUsedEvent(100);
    add();
    serve();
    expect(queue.needsInterrupt()).toBe(true);
  });

  it('are due once when the used index passes used_event', () => {
    const { ring, queue, add, serve } = setUp();
    const wanted: boolean[] = [];
    ring.setUsedEvent(3);
    for (let i = 0; i < 6; i++) {
      add();
      serve();
      wanted.push(queue.needsInterrupt());
    }
    expect(wanted).toEqual([true, false, false, true, false, false]);
  });

  it('are due for a batch that passes used_event somewhere', () => {
    const { ring, queue, add, serve } = setUp();
    add();
    serve();
    queue.needsInterrupt();
    ring.setUsedEvent(4);
    for (let i = 0; i < 8; i++) add();
    for (let i = 0; i < 8; i++) serve();
    expect(queue.needsInterrupt()).toBe(true);
    expect(queue.needsInterrupt()).toBe(false);
  });

  it('follow the flag when there is no event index', () => {
    const { ring, queue, add, serve } = setUp({ eventIdx: false });
    const wanted = () => {
      add();
      serve();
      return queue.needsInterrupt();
    };
    wanted();
    expect(wanted()).toBe(true);
    ring.setNoInterrupt(true);
    expect(wanted()).toBe(false);
    ring.setNoInterrupt(false);
    expect(wanted()).toBe(true);
  });
});

describe.each([true, false])('kicks of a split virtqueue, event index %s', (eventIdx) => {
  it('are not wanted while the device is busy, and wanted when it sleeps', () => {
    const { ring, queue, add, serve } = setUp({ eventIdx, num: 64 });
    expect(queue.enableKicks()).toBe(false);
    add();
    expect(ring.needsKick()).toBe(true);
    queue.disableKicks();
    add();
    expect(ring.needsKick()).toBe(false);
    serve();
    serve();
    expect(queue.enableKicks()).toBe(false);
    add();
    expect(ring.needsKick()).toBe(true);
  });

  it('that were not sent are made up for by looking again', () => {
    const { queue, chain, add } = setUp({ eventIdx });
    queue.disableKicks();
    expect(queue.pop(chain)).toBe(POP_EMPTY);
    add();
    expect(queue.enableKicks()).toBe(true);
  });
});

describe('a virtqueue that cannot be used', () => {
  const ring = new RingBuilder({ num: 16 });
  const { geometry } = ring;
  const end = ring.base + ring.buffer.byteLength;
  it.each([
    [{ num: 0 }, 'A split virtqueue cannot have 0 entries: a power of two up to 32768 can be.'],
    [{ num: 24 }, 'A split virtqueue cannot have 24 entries: a power of two up to 32768 can be.'],
    [{ num: 65536 }, 'A split virtqueue cannot have 65536 entries: a power of two up to 32768 can be.'],
    [{ descAddr: 0 }, 'The descriptor table (256 bytes at 0x0) is not in memory the device may use.'],
    [
      { descAddr: geometry.descAddr + 8 },
      'The descriptor table (256 bytes at 0x10008) is not aligned to 16 bytes.',
    ],
    [
      { driverAddr: end - 16 },
      'The available ring (38 bytes at 0x10fff0) reaches beyond its region of memory.',
    ],
    [
      { driverAddr: geometry.driverAddr + 1 },
      'The available ring (38 bytes at 0x10101) is not aligned to 2 bytes.',
    ],
    [
      { deviceAddr: geometry.deviceAddr + 2 },
      'The used ring (134 bytes at 0x11002) is not aligned to 4 bytes.',
    ],
  ])('is refused: %j', (change, why) => {
    const make = () =>
      new SplitVirtqueue({ ...geometry, ...change }, wholeMemory(ring), { eventIdx: true, indirect: true });
    expect(make).toThrow(expect.objectContaining({ code: 'virtio.bad-ring', why }));
  });
});

describe('the driver of these tests', () => {
  it.each([
    ['never made available', 5],
    ['outside the table', 4711],
  ])('complains about a used id that was %s, as Linux does', (_, id) => {
    const { ring, queue } = setUp();
    queue.push(id, 0);
    queue.publish();
    expect(() => ring.takeUsed()).toThrow(`id ${id} is not a head!`);
  });

  it('complains about a chain given back twice', () => {
    const { ring, queue, add, serve } = setUp();
    const head = add();
    serve();
    queue.push(head, 0);
    queue.publish();
    ring.takeUsed();
    expect(() => ring.takeUsed()).toThrow(`id ${head} is not a head!`);
  });
});
