import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../../../frontends/virtio/memory/guest-memory.ts';
import type { RingLayout } from '../../../../frontends/virtio/virtq/ring-state.ts';
import { NO_STATUS, type SentRequest } from '../../../support/blk-driver.ts';
import type { Descriptor, DriverRing } from '../../../support/driver-ring.ts';
import { LAYOUTS } from '../../../support/make-ring.ts';
import { pattern, QueueRig } from './queue-rig.ts';

const IOERR = 1;
const NEXT = 1;
const INDIRECT = 4;
const UNMAPPED = 0x10;

/** A header for `type` at sector 0, and a byte for the status. */
function parts(ring: DriverRing, type = 0) {
  const header: Descriptor = { addr: ring.allocate(16), len: 16 };
  ring.at(Number(header.addr), 16).fill(0)[0] = type;
  const status = { addr: ring.allocate(1), len: 1, writable: true };
  ring.at(status.addr, 1)[0] = NO_STATUS;
  const payload = { addr: ring.allocate(512), len: 512, writable: true };
  return { header, status, payload };
}

type Build = (ring: DriverRing, p: ReturnType<typeof parts>) => number;
/** What is wrong, what the gateway calls it, and how to build it. */
type Case = readonly [string, string, Build];

describe.each(LAYOUTS)('a malformed chain whose status can be reached, %s ring', (layout) => {
  it.each<[string, string, Build]>([
    [
      'an unmapped payload',
      'the payload is not in writable memory',
      (ring, { header, status }) => ring.add([header, { addr: UNMAPPED, len: 512, writable: true }, status]),
    ],
    [
      'a payload that ends outside memory',
      'the payload is not in writable memory',
      (ring, { header, status }) =>
        ring.add([
          header,
          { addr: ring.base + ring.buffer.byteLength - 256, len: 512, writable: true },
          status,
        ]),
    ],
    [
      'a payload that wraps around 2^64',
      'the payload is not in writable memory',
      (ring, { header, status }) =>
        ring.add([header, { addr: 2n ** 64n - 256n, len: 512, writable: true }, status]),
    ],
    [
      'an unmapped header',
      'the header is not in readable memory',
      (ring, { payload, status }) => ring.add([{ addr: UNMAPPED, len: 16 }, payload, status]),
    ],
    [
      'a header that is too short',
      'fewer readable bytes than a header has',
      (ring, { header, payload, status }) => ring.add([{ ...header, len: 15 }, payload, status]),
    ],
    [
      'no header',
      'fewer readable bytes than a header has',
      (ring, { payload, status }) => ring.add([payload, status]),
    ],
    [
      'a header in two pieces, of which one is unmapped',
      'the header is not in readable memory',
      (ring, { header, payload, status }) =>
        ring.add([{ ...header, len: 8 }, { addr: UNMAPPED, len: 8 }, payload, status]),
    ],
    [
      'something readable after something writable',
      'a device-readable descriptor follows a device-writable one',
      (ring, { header, payload, status }) => ring.add([payload, header, status]),
    ],
  ])('fails, and is given back: %s', (_, defect, build) => {
    const rig = new QueueRig({ layout });
    const p = parts(rig.ring);
    const head = build(rig.ring, p);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head, written: expect.any(Number) }]);
    expect(rig.ring.at(p.status.addr, 1)[0]).toBe(IOERR);
    expect(rig.malformed).toEqual([defect]);
    expect(rig.broken).toEqual([]);
    expect(rig.device.calls).toEqual([]);
  });

  it('fails when the payload of a write is unmapped, or its segments', () => {
    for (const type of [1, 13]) {
      const rig = new QueueRig({ layout });
      const p = parts(rig.ring, type);
      rig.ring.add([p.header, { addr: UNMAPPED, len: 512 }, p.status]);
      rig.run();
      expect(rig.ring.at(p.status.addr, 1)[0]).toBe(IOERR);
      expect(rig.ring.takeAllUsed()).toHaveLength(1);
    }
  });

  it('claims no byte of a payload it has not filled', () => {
    const rig = new QueueRig({ layout });
    const { header, status } = parts(rig.ring);
    const head = rig.ring.add([header, { addr: UNMAPPED, len: 512, writable: true }, status]);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head, written: 0 }]);
  });
});

const NO_STATUS_BYTE = 'there is no writable byte for the status';
const UNREACHABLE: readonly Case[] = [
  ['nothing writable', NO_STATUS_BYTE, (ring, { header }) => ring.add([header])],
  ['nothing at all', NO_STATUS_BYTE, (ring) => ring.add([{ addr: 0, len: 0 }])],
  [
    'an unmapped status',
    NO_STATUS_BYTE,
    (ring, { header, payload }) => ring.add([header, payload, { addr: UNMAPPED, len: 1, writable: true }]),
  ],
  [
    'a status above 2^53',
    NO_STATUS_BYTE,
    (ring, { header, payload }) => ring.add([header, payload, { addr: 2n ** 63n, len: 1, writable: true }]),
  ],
  [
    'an empty status',
    NO_STATUS_BYTE,
    (ring, { header }) => ring.add([header, { addr: 0, len: 0, writable: true }]),
  ],
  [
    'an indirect table of 17 bytes',
    'the length of an indirect table is not a positive multiple of 16',
    (ring) => ring.add([{ addr: ring.base, len: 17, flags: INDIRECT }]),
  ],
  [
    'an oversized indirect table',
    'an indirect table has more entries than the queue',
    (ring) => ring.add([{ addr: ring.base, len: 0xffff_fff0, flags: INDIRECT }]),
  ],
  [
    'an unmapped indirect table',
    'an indirect table is not in readable memory',
    (ring) => ring.add([{ addr: UNMAPPED, len: 32, flags: INDIRECT }]),
  ],
];

const UNREACHABLE_BY_LAYOUT: Readonly<Record<RingLayout, readonly Case[]>> = {
  split: [
    [
      'a loop',
      'the chain is longer than the queue: it has a loop',
      (ring, { header, status }) => ring.add([header, { ...status, next: 0 }]),
    ],
    [
      'a next field outside the table',
      'a next field points outside the descriptor table',
      (ring, { header }) => ring.add([{ ...header, next: 999 }]),
    ],
    [
      'indirect in indirect',
      'an indirect table contains an indirect descriptor',
      (ring, { header, status }) => ring.addIndirect([header, ring.writeTable([status])]),
    ],
    [
      'indirect, then more',
      'a descriptor is both indirect and continued',
      (ring, { header, status }) =>
        ring.add([{ ...ring.writeTable([header]), flags: INDIRECT | NEXT }, status]),
    ],
  ],
  packed: [
    [
      'indirect, then more',
      'a list of several descriptors has an indirect one',
      (ring, { header, status }) => ring.add([ring.writeTable([header]), status]),
    ],
    [
      'direct, then indirect',
      'a list of several descriptors has an indirect one',
      (ring, { header, status }) => ring.addIndirect([header, status], 1),
    ],
  ],
};

describe.each(LAYOUTS)('a malformed chain whose status cannot be reached, %s ring', (layout) => {
  it.each<Case>([...UNREACHABLE, ...UNREACHABLE_BY_LAYOUT[layout]])(
    'is given back with length 0: %s',
    (_, defect, build) => {
      const rig = new QueueRig({ layout });
      const p = parts(rig.ring);
      const head = build(rig.ring, p);
      const before = rig.ring.at(p.status.addr, 1)[0];
      rig.run();
      expect(rig.ring.takeAllUsed()).toEqual([{ head, written: 0 }]);
      expect(rig.ring.at(p.status.addr, 1)[0]).toBe(before);
      expect(rig.malformed).toEqual([defect]);
      expect(rig.broken).toEqual([]);
    },
  );
});

describe.each(LAYOUTS)('memory that may only be read, %s ring', (layout) => {
  it('is not written to, neither payload nor status', async () => {
    const rig = new QueueRig({ layout, readOnlyTail: 4096 });
    const tail = rig.ring.base + rig.ring.buffer.byteLength - 4096;
    const { header, status } = parts(rig.ring);
    rig.ring.add([header, { addr: tail, len: 512, writable: true }, status]);
    rig.ring.add([header, { addr: tail + 600, len: 1, writable: true }]);
    rig.device.data.fill(0xff);
    rig.run();
    await rig.queue.drain();
    expect(rig.ring.at(tail, 4096).every((byte) => byte === 0)).toBe(true);
    expect(rig.ring.takeAllUsed()).toHaveLength(2);
    expect(rig.ring.at(status.addr, 1)[0]).toBe(IOERR);
  });
});

/** Each does what no driver may do to its ring, and returns what the gateway says of it. */
const CORRUPTIONS: Readonly<
  Record<RingLayout, readonly (readonly [string, (rig: QueueRig, inFlight: SentRequest) => string])[]>
> = {
  split: [
    [
      'an available index that jumps',
      ({ split }) => {
        split.setAvailIndex(1 + 17);
        return 'the available index went from 1 to 18, more than the 16 entries of the queue';
      },
    ],
    [
      'a head out of range',
      ({ split }) => {
        split.offerRaw(16);
        return 'the available ring names descriptor 16 of a table of 16';
      },
    ],
    [
      'a head that is in flight already',
      ({ split }, { head }) => {
        split.offerRaw(head);
        return `the available ring names descriptor ${head} again while its request is in flight`;
      },
    ],
  ],
  packed: [
    [
      'a list that goes on where nothing is available',
      ({ packed }) => {
        packed.addRaw(1, [
          { addr: 0, len: 1 },
          { addr: 0, len: 1, flags: NEXT },
        ]);
        return 'a list goes on with a descriptor that is not available';
      },
    ],
    [
      'a list longer than the rest of the ring',
      ({ packed }) => {
        packed.addRaw(1, Array(16).fill({ addr: 0, len: 1 }));
        return 'more descriptors are available than the ring has';
      },
    ],
    [
      'a list that never ends',
      ({ packed }) => {
        packed.addRaw(1, Array(32).fill({ addr: 0, len: 1, flags: NEXT }));
        return 'a list goes on with a descriptor that is not available';
      },
    ],
    [
      'a buffer id out of range',
      ({ packed }) => {
        packed.addRaw(16, [{ addr: 0, len: 1 }]);
        return 'a list has buffer id 16 in a ring of 16';
      },
    ],
    [
      'a buffer id that is in flight already',
      ({ packed }, { head }) => {
        packed.addRaw(head, [{ addr: 0, len: 1 }]);
        return `a list has buffer id ${head}, whose request is in flight`;
      },
    ],
  ],
};

describe.each(LAYOUTS)('a corrupt ring stops the queue with a reason, %s ring', (layout) => {
  it.each(CORRUPTIONS[layout])('%s', async (_, corrupt) => {
    const rig = new QueueRig({ layout });
    const held = Promise.withResolvers<void>();
    rig.device.gate = () => held.promise;
    const before = rig.driver.read(0, 512);
    rig.run();
    const reason = corrupt(rig, before);
    rig.run();
    rig.run();
    expect(rig.broken).toEqual([`virtqueue 0 stopped: ${reason}`]);
    expect(rig.queue.inFlight).toBe(1);

    held.resolve();
    await rig.queue.drain();
    expect(rig.ring.takeAllUsed()).toEqual([{ head: before.head, written: 513 }]);
    expect(rig.memory.pins).toBe(0);
  });

  it('and takes nothing that comes after it', () => {
    const rig = new QueueRig({ layout });
    const first = rig.driver.write(0, pattern(512));
    CORRUPTIONS[layout].find(([what]) => what.endsWith('out of range'))![1](rig, first);
    const after = rig.driver.write(1, pattern(512));
    rig.run();
    expect(rig.device.calls).toHaveLength(1);
    expect(rig.driver.status(after)).toBe(NO_STATUS);
    expect(rig.ring.takeAllUsed()).toHaveLength(1);
  });
});

describe.each(LAYOUTS)('a machine that fails, %s ring', (layout) => {
  it('stops the queue when guest memory cannot be mapped, and leaves nothing to wait for', async () => {
    const rig = new QueueRig({ layout });
    const whole = rig.memory.lookup(rig.ring.base, 3)!;
    const memory = new GuestMemory((iova) => {
      if (iova >= whole.iova && iova < whole.end) return whole;
      throw new Error('mmap: ENOMEM');
    });
    const failing = new QueueRig({ layout, buffer: rig.ring.buffer, queue: { memory } });
    const { header, payload } = parts(failing.ring);
    failing.ring.add([header, payload, { addr: UNMAPPED, len: 1, writable: true }]);
    failing.run();
    await failing.queue.drain();
    expect(failing.broken).toEqual(['virtqueue 0 stopped: serving it failed: mmap: ENOMEM']);
    expect(failing.queue.inFlight).toBe(0);
    expect(memory.pins).toBe(0);
  });

  it('stops the queue when the driver cannot be interrupted', () => {
    const notify = () => {
      throw new Error('ioctl: EPERM');
    };
    const rig = new QueueRig({ layout, queue: { notify } });
    rig.driver.read(0, 512);
    rig.run();
    expect(rig.broken).toEqual(['virtqueue 0 stopped: interrupting the driver failed: ioctl: EPERM']);
    expect(rig.ring.takeAllUsed()).toHaveLength(1);
  });
});
