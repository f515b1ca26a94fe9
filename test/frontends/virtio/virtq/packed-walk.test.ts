import { describe, expect, it } from 'vitest';
import { Chain } from '../../../../frontends/virtio/virtq/chain.ts';
import { PackedWalk } from '../../../../frontends/virtio/virtq/packed-walk.ts';
import type { Descriptor } from '../../../support/driver-ring.ts';
import { PackedRingBuilder } from '../../../support/packed-ring-builder.ts';
import { wholeMemory } from '../blk/queue-rig.ts';

const INDIRECT = 4;
const AVAIL = 0x80;
const NUM = 8;

function setUp(indirect = true) {
  const ring = new PackedRingBuilder({ num: NUM });
  const words = new Uint32Array(ring.buffer, 0, 4 * NUM);
  const walk = new PackedWalk(NUM, words, wholeMemory(ring), indirect);
  const chain = new Chain(NUM);
  /** Follows what was added last. */
  const follow = (index = 0) => {
    expect(walk.take(index, AVAIL, NUM)).toBeUndefined();
    walk.follow(chain);
    return chain;
  };
  return { ring, walk, follow };
}

const read = (len = 16): Descriptor => ({ addr: 0x12000, len });
const write = (len = 16): Descriptor => ({ addr: 0x13000, len, writable: true });
const many = (count: number): Descriptor[] => Array.from({ length: count }, () => read());

describe('following a list', () => {
  it.each(['direct', 'indirect'])('%s, finds the same descriptors', (form) => {
    const { ring, walk, follow } = setUp();
    const descriptors = [read(16), read(100), write(200), write(1)];
    const head = form === 'direct' ? ring.add(descriptors) : ring.addIndirect(descriptors);
    const chain = follow();
    expect(chain.defect).toBeUndefined();
    expect([...chain.len.subarray(0, chain.count)]).toEqual([16, 100, 200, 1]);
    expect(chain).toMatchObject({
      readable: 2,
      readableBytes: 116,
      writableBytes: 201,
      lastWritable: 0x13000,
    });
    expect(walk).toMatchObject({ id: head, slots: form === 'direct' ? 4 : 1 });
  });

  it('keeps what the ring said, word by word', () => {
    const { ring, walk, follow } = setUp();
    ring.add(many(3));
    const before = new Uint32Array(ring.buffer.slice(0, 3 * 16));
    follow();
    expect(walk.taken.subarray(0, 12)).toEqual(before);
  });

  it('leaves empty descriptors out', () => {
    const { ring, follow } = setUp();
    ring.add([read(0), read(16), write(0), read(8), write(1), write(0)]);
    const chain = follow();
    expect(chain.defect).toBeUndefined();
    expect([...chain.len.subarray(0, chain.count)]).toEqual([16, 8, 1]);
    expect(chain).toMatchObject({ readable: 2, lastWritable: 0x13000 });
  });

  it('takes a list, or a table, as long as the queue', () => {
    for (const form of ['add', 'addIndirect'] as const) {
      const { ring, follow } = setUp();
      ring[form](many(NUM));
      expect(follow()).toMatchObject({ defect: undefined, count: NUM });
    }
  });

  it('ignores what the WRITE flag of an indirect descriptor says', () => {
    const { ring, follow } = setUp();
    ring.add([{ ...ring.writeTable([read(), write()]), writable: true }]);
    expect(follow()).toMatchObject({ defect: undefined, readable: 1, count: 2 });
  });

  it('ignores all flags but WRITE in an indirect table: its entries follow each other', () => {
    const { ring, follow } = setUp();
    ring.addIndirect([{ ...read(), flags: 0xffff & ~2 }, { ...read(40), flags: INDIRECT }, write()]);
    const chain = follow();
    expect(chain).toMatchObject({ defect: undefined, readable: 2, count: 3 });
    expect(chain.len[1]).toBe(40);
  });

  it('marks an address of 2^53 or above as one that nothing holds', () => {
    const { ring, follow } = setUp();
    ring.add([
      { addr: 2n ** 53n, len: 16 },
      { addr: 2n ** 64n - 1n, len: 4, writable: true },
    ]);
    const chain = follow();
    expect([chain.addr[0], chain.addr[1], chain.lastWritable]).toEqual([-1, -1, -1]);
  });
});

describe('a malicious list', () => {
  const several = 'a list of several descriptors has an indirect one';
  const badLength = 'the length of an indirect table is not a positive multiple of 16';
  const unmapped = 'an indirect table is not in readable memory';

  it.each<[string, string, (ring: PackedRingBuilder) => number]>([
    [
      'continues after its indirect table',
      several,
      (ring) => ring.add([ring.writeTable([write()]), write()]),
    ],
    ['has an indirect table at its end', several, (ring) => ring.addIndirect([read(), write()], 1)],
    [
      'has an empty indirect table',
      badLength,
      (ring) => ring.add([{ addr: 0x12000, len: 0, flags: INDIRECT }]),
    ],
    [
      'has an indirect table of 24 bytes',
      badLength,
      (ring) => ring.add([{ addr: 0x12000, len: 24, flags: INDIRECT }]),
    ],
    [
      'has an indirect table longer than the queue',
      'an indirect table has more entries than the queue',
      (ring) => ring.addIndirect(many(NUM + 1)),
    ],
    [
      'has an indirect table in no memory',
      unmapped,
      (ring) => ring.add([{ addr: 0x10, len: 16, flags: INDIRECT }]),
    ],
    [
      'has an indirect table that ends beyond memory',
      unmapped,
      (ring) => ring.add([{ addr: ring.base + ring.buffer.byteLength - 16, len: 32, flags: INDIRECT }]),
    ],
    [
      'has an indirect table above 2^53',
      unmapped,
      (ring) => ring.add([{ addr: 2n ** 60n, len: 16, flags: INDIRECT }]),
    ],
  ])('that %s is found out, none of it trusted, and its id known', (_, defect, build) => {
    const { ring, walk, follow } = setUp();
    const head = build(ring);
    expect(follow()).toMatchObject({ defect, lastWritable: -1 });
    expect(walk.id).toBe(head);
  });

  it('that uses an indirect table without leave is found out', () => {
    const { ring, follow } = setUp(false);
    ring.addIndirect([read()]);
    expect(follow()).toMatchObject({
      defect: 'an indirect descriptor, which was not negotiated',
      lastWritable: -1,
    });
  });

  it('that mixes directions is found out; its last byte can still be told', () => {
    const { ring, follow } = setUp();
    ring.add([read(), write(), read(), write(3)]);
    expect(follow()).toMatchObject({
      defect: 'a device-readable descriptor follows a device-writable one',
      lastWritable: 0x13002,
    });
    ring.add([read(), write(), read()]);
    expect(follow(4)).toMatchObject({ lastWritable: -1 });
  });
});
