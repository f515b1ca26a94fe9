import { describe, expect, it } from 'vitest';
import { Chain } from '../../../../frontends/virtio/virtq/chain.ts';
import { SplitWalk } from '../../../../frontends/virtio/virtq/split-walk.ts';
import type { Descriptor } from '../../../support/driver-ring.ts';
import { RingBuilder } from '../../../support/ring-builder.ts';
import { wholeMemory } from '../blk/queue-rig.ts';

const NEXT = 1;
const INDIRECT = 4;
const NUM = 8;

function setUp(indirect = true) {
  const ring = new RingBuilder({ num: NUM });
  const table = new Uint32Array(ring.buffer, 0, 4 * NUM);
  const walk = new SplitWalk(NUM, table, wholeMemory(ring), indirect);
  const chain = new Chain(NUM);
  const follow = (head: number) => {
    walk.follow(head, chain);
    return chain;
  };
  return { ring, follow };
}

const read = (len = 16): Descriptor => ({ addr: 0x12000, len });
const write = (len = 16): Descriptor => ({ addr: 0x13000, len, writable: true });
const many = (count: number): Descriptor[] => Array.from({ length: count }, () => read());

describe('following a chain', () => {
  it.each(['direct', 'indirect', 'two direct, then indirect'])('%s, finds the same descriptors', (form) => {
    const { ring, follow } = setUp();
    const descriptors = [read(16), read(100), write(200), write(1)];
    const head =
      form === 'direct' ? ring.add(descriptors) : ring.addIndirect(descriptors, form === 'indirect' ? 0 : 2);
    const chain = follow(head);
    expect(chain.defect).toBeUndefined();
    expect([...chain.len.subarray(0, chain.count)]).toEqual([16, 100, 200, 1]);
    expect(chain).toMatchObject({
      readable: 2,
      readableBytes: 116,
      writableBytes: 201,
      lastWritable: 0x13000,
    });
  });

  it('leaves empty descriptors out', () => {
    const { ring, follow } = setUp();
    const chain = follow(ring.add([read(0), read(16), write(0), read(8), write(1), write(0)]));
    expect(chain.defect).toBeUndefined();
    expect([...chain.len.subarray(0, chain.count)]).toEqual([16, 8, 1]);
    expect(chain).toMatchObject({ readable: 2, lastWritable: 0x13000 });
  });

  it('takes a chain as long as the queue', () => {
    const { ring, follow } = setUp();
    expect(follow(ring.add(many(NUM)))).toMatchObject({ defect: undefined, count: NUM });
  });

  it('takes an indirect table as long as the queue', () => {
    const { ring, follow } = setUp();
    expect(follow(ring.addIndirect(many(NUM)))).toMatchObject({ defect: undefined, count: NUM });
  });

  it('ignores what the WRITE flag of an indirect descriptor says', () => {
    const { ring, follow } = setUp();
    const table = ring.writeTable([read(), write()]);
    const head = ring.add([{ ...table, writable: true }]);
    expect(follow(head)).toMatchObject({ defect: undefined, readable: 1, count: 2 });
  });

  it('marks an address of 2^53 or above as one that nothing holds', () => {
    const { ring, follow } = setUp();
    const chain = follow(
      ring.add([
        { addr: 2n ** 53n, len: 16 },
        { addr: 2n ** 64n - 1n, len: 4, writable: true },
      ]),
    );
    expect([chain.addr[0], chain.addr[1], chain.lastWritable]).toEqual([-1, -1, -1]);
  });
});

describe('a malicious chain', () => {
  const outside = 'a next field points outside the descriptor table';
  const outsideIndirect = 'a next field points outside its indirect table';
  const loop = 'the chain is longer than the queue: it has a loop';
  const loopIndirect = 'the chain is longer than its table or the queue: it has a loop';
  const badLength = 'the length of an indirect table is not a positive multiple of 16';
  const unmapped = 'an indirect table is not in readable memory';

  it.each<[string, string, (ring: RingBuilder) => number]>([
    ['points to itself', loop, (ring) => ring.add([{ ...read(), next: 0 }])],
    ['loops over two descriptors', loop, (ring) => ring.add([read(), { ...read(), next: 0 }])],
    ['continues just outside the table', outside, (ring) => ring.add([{ ...read(), next: NUM }])],
    ['continues far outside the table', outside, (ring) => ring.add([{ ...read(), next: 65535 }])],
    [
      'loops in its indirect table',
      loopIndirect,
      (ring) => ring.addIndirect([read(), { ...read(), next: 0 }]),
    ],
    [
      'continues outside its indirect table',
      outsideIndirect,
      (ring) => ring.addIndirect([read(), { ...read(), next: 2 }]),
    ],
    [
      'has direct and indirect parts that are too long together',
      loopIndirect,
      (ring) => ring.addIndirect(many(NUM + 1), 3),
    ],
    [
      'has an indirect descriptor in its indirect table',
      'an indirect table contains an indirect descriptor',
      (ring) => ring.addIndirect([ring.writeTable([read()])]),
    ],
    [
      'continues after its indirect table',
      'a descriptor is both indirect and continued',
      (ring) => ring.add([{ ...ring.writeTable([read()]), flags: INDIRECT | NEXT }]),
    ],
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
  ])('that %s is found out, and none of it trusted', (_, defect, build) => {
    const { ring, follow } = setUp();
    // The ring builder hands out descriptors from 0 on: `next: 0` is the head.
    expect(follow(build(ring))).toMatchObject({ defect, lastWritable: -1 });
  });

  it('that uses an indirect table without leave is found out', () => {
    const { ring, follow } = setUp(false);
    expect(follow(ring.addIndirect([read()]))).toMatchObject({
      defect: 'an indirect descriptor, which was not negotiated',
      lastWritable: -1,
    });
  });

  it('that mixes directions is found out; its last byte can still be told', () => {
    const { ring, follow } = setUp();
    expect(follow(ring.add([read(), write(), read(), write(3)]))).toMatchObject({
      defect: 'a device-readable descriptor follows a device-writable one',
      lastWritable: 0x13002,
    });
    expect(follow(ring.add([read(), write(), read()]))).toMatchObject({ lastWritable: -1 });
  });
});
