import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../../../../frontends/virtio/memory/guest-memory.ts';
import { NO_STATUS } from '../../../support/blk-driver.ts';
import type { Descriptor, RingBuilder } from '../../../support/ring-builder.ts';
import { pattern, QueueRig } from './queue-rig.ts';

const IOERR = 1;
const NEXT = 1;
const INDIRECT = 4;
const UNMAPPED = 0x10;

/** A header for `type` at sector 0, and a byte for the status. */
function parts(ring: RingBuilder, type = 0) {
  const header: Descriptor = { addr: ring.allocate(16), len: 16 };
  ring.at(Number(header.addr), 16).fill(0)[0] = type;
  const status = { addr: ring.allocate(1), len: 1, writable: true };
  ring.at(status.addr, 1)[0] = NO_STATUS;
  const payload = { addr: ring.allocate(512), len: 512, writable: true };
  return { header, status, payload };
}

type Build = (ring: RingBuilder, p: ReturnType<typeof parts>) => number;

describe('a malformed chain whose status can be reached', () => {
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
      'a payload that reaches beyond 2^53',
      'the payload is not in writable memory',
      (ring, { header, status }) =>
        ring.add([header, { addr: 2 ** 53 - 256, len: 512, writable: true }, status]),
    ],
    [
      'a header that wraps around 2^64',
      'the header is not in readable memory',
      (ring, { payload, status }) => ring.add([{ addr: 2n ** 64n - 8n, len: 16 }, payload, status]),
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
    const rig = new QueueRig();
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
      const rig = new QueueRig();
      const p = parts(rig.ring, type);
      rig.ring.add([p.header, { addr: UNMAPPED, len: 512 }, p.status]);
      rig.run();
      expect(rig.ring.at(p.status.addr, 1)[0]).toBe(IOERR);
      expect(rig.ring.takeAllUsed()).toHaveLength(1);
    }
  });

  it('claims no byte of a payload it has not filled', () => {
    const rig = new QueueRig();
    const { header, status } = parts(rig.ring);
    const head = rig.ring.add([header, { addr: UNMAPPED, len: 512, writable: true }, status]);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head, written: 0 }]);
  });
});

describe('a malformed chain whose status cannot be reached', () => {
  const loop = 'the chain is longer than the queue: it has a loop';
  const noStatus = 'there is no writable byte for the status';
  it.each<[string, string, Build]>([
    ['nothing writable', noStatus, (ring, { header }) => ring.add([header])],
    ['nothing at all', noStatus, (ring) => ring.add([{ addr: 0, len: 0 }])],
    [
      'an unmapped status',
      noStatus,
      (ring, { header, payload }) => ring.add([header, payload, { addr: UNMAPPED, len: 1, writable: true }]),
    ],
    [
      'a status above 2^53',
      noStatus,
      (ring, { header, payload }) => ring.add([header, payload, { addr: 2n ** 63n, len: 1, writable: true }]),
    ],
    [
      'an empty status',
      noStatus,
      (ring, { header }) => ring.add([header, { addr: 0, len: 0, writable: true }]),
    ],
    ['a loop', loop, (ring, { header, status }) => ring.add([header, { ...status, next: 0 }])],
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
    [
      'an indirect table of 17 bytes',
      'the length of an indirect table is not a positive multiple of 16',
      (ring) => ring.add([{ addr: ring.base, len: 17, flags: INDIRECT }]),
    ],
    [
      'an indirect table that wraps around 2^64',
      'an indirect table is not in readable memory',
      (ring) => ring.add([{ addr: 2n ** 64n - 16n, len: 48, flags: INDIRECT }]),
    ],
    [
      'a status that wraps around 2^64',
      noStatus,
      (ring, { header }) => ring.add([header, { addr: 2n ** 64n - 512n, len: 1024, writable: true }]),
    ],
    [
      'a status that reaches beyond 2^53',
      noStatus,
      (ring, { header }) => ring.add([header, { addr: 2 ** 53 - 1, len: 0xffff_ffff, writable: true }]),
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
  ])('is given back with length 0: %s', (_, defect, build) => {
    const rig = new QueueRig();
    const p = parts(rig.ring);
    const head = build(rig.ring, p);
    const before = rig.ring.at(p.status.addr, 1)[0];
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head, written: 0 }]);
    expect(rig.ring.at(p.status.addr, 1)[0]).toBe(before);
    expect(rig.malformed).toEqual([defect]);
    expect(rig.broken).toEqual([]);
  });
});

describe('memory that may only be read', () => {
  it('is not written to, neither payload nor status', async () => {
    const rig = new QueueRig({ readOnlyTail: 4096 });
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

describe('a range over two regions', () => {
  it('is cut where they meet, and written only if both may be', async () => {
    const rig = new QueueRig({ readOnlyTail: 4096 });
    const border = rig.ring.base + rig.ring.buffer.byteLength - 4096;
    rig.device.data.fill(0xff);
    const p = parts(rig.ring);
    rig.ring.add([p.header, { addr: border - 256, len: 512, writable: true }, p.status]);
    rig.run();
    expect(rig.ring.at(p.status.addr, 1)[0]).toBe(IOERR);
    expect(rig.ring.at(border - 256, 512).every((byte) => byte === 0)).toBe(true);
    expect(rig.device.calls).toEqual([]);

    const w = parts(rig.ring, 1);
    rig.ring.at(border - 256, 512).fill(7);
    rig.ring.add([w.header, { addr: border - 256, len: 512 }, w.status]);
    rig.run();
    expect(rig.ring.at(w.status.addr, 1)[0]).toBe(0);
    expect(rig.device.calls).toMatchObject([{ op: 'write', length: 512, segments: 2 }]);
    expect(rig.device.data.subarray(0, 512).every((byte) => byte === 7)).toBe(true);
  });
});

describe('descriptors without a byte', () => {
  it('mean nothing, wherever they stand and point', () => {
    const rig = new QueueRig();
    rig.device.data.fill(9);
    const { header, payload, status } = parts(rig.ring);
    const nothing = { addr: 2n ** 64n - 1n, len: 0 };
    const nowhere = { addr: UNMAPPED, len: 0, writable: true };
    rig.ring.add([nothing, header, nowhere, nothing, payload, nothing, status, nowhere, nothing]);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head: 0, written: 513 }]);
    expect(rig.ring.at(status.addr, 1)[0]).toBe(0);
    expect(rig.ring.at(Number(payload.addr), 512).every((byte) => byte === 9)).toBe(true);
    expect(rig.malformed).toEqual([]);
  });
});

describe('a sector beyond the disk', () => {
  const SECTORS = 2 ** 20 / 512;
  const types = [0, 1, 11, 13];
  const sectors: (number | bigint)[] = [
    SECTORS,
    SECTORS - 1,
    2 ** 32 - 1,
    2n ** 44n,
    2n ** 53n - 1n,
    // Times 512 these are 2^64, and what is left of it below: 0 and 512.
    2n ** 55n,
    2n ** 55n + 1n,
    2n ** 64n - 1n,
  ];
  it.each(types.flatMap((type) => sectors.map((sector) => [type, sector] as const)))(
    'fails and reaches nobody: type %i, sector %s',
    (type, sector) => {
      const rig = new QueueRig();
      const { driver } = rig;
      const sent =
        type < 2
          ? driver.send(type, sector, pattern(type * 1024), type === 0 ? 1024 : 0)
          : driver.ranges(type, [{ sector, count: 2 }]);
      rig.run();
      expect(driver.status(sent)).toBe(IOERR);
      expect(rig.device.calls).toEqual([]);
      expect(rig.ring.takeAllUsed()).toHaveLength(1);
    },
  );

  it('fails for as many sectors as a segment can name', () => {
    const rig = new QueueRig();
    const sent = rig.driver.ranges(11, [{ sector: 0, count: 0xffff_ffff }]);
    rig.run();
    expect(rig.driver.status(sent)).toBe(IOERR);
    expect(rig.device.calls).toEqual([]);
  });
});

describe('a corrupt ring stops the queue with a reason', () => {
  it.each<[string, (ring: RingBuilder) => void, string]>([
    [
      'an available index that jumps',
      (ring) => ring.setAvailIndex(1 + 17),
      'the available index went from 1 to 18, more than the 16 entries of the queue',
    ],
    [
      'a head outside the table',
      (ring) => ring.offerRaw(16),
      'the available ring names descriptor 16 of a table of 16',
    ],
    [
      'a head that is in flight already',
      (ring) => ring.offerRaw(0),
      'the available ring names descriptor 0 again while its request is in flight',
    ],
  ])('%s', async (_, corrupt, reason) => {
    const rig = new QueueRig();
    const held = Promise.withResolvers<void>();
    rig.device.gate = () => held.promise;
    const before = rig.driver.read(0, 512);
    rig.run();
    corrupt(rig.ring);
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
    const rig = new QueueRig();
    rig.driver.write(0, pattern(512));
    rig.ring.offerRaw(99);
    const after = rig.driver.write(1, pattern(512));
    rig.run();
    expect(rig.device.calls).toHaveLength(1);
    expect(rig.driver.status(after)).toBe(NO_STATUS);
    expect(rig.ring.takeAllUsed()).toHaveLength(1);
  });
});

describe('a machine that fails', () => {
  it('stops the queue when guest memory cannot be mapped, and leaves nothing to wait for', async () => {
    const rig = new QueueRig();
    const whole = rig.memory.lookup(rig.ring.base, 3)!;
    const memory = new GuestMemory((iova) => {
      if (iova >= whole.iova && iova < whole.end) return whole;
      throw new Error('mmap: ENOMEM');
    });
    const failing = new QueueRig({ buffer: rig.ring.buffer, queue: { memory } });
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
    const rig = new QueueRig({ queue: { notify } });
    rig.driver.read(0, 512);
    rig.run();
    expect(rig.broken).toEqual(['virtqueue 0 stopped: interrupting the driver failed: ioctl: EPERM']);
    expect(rig.ring.takeAllUsed()).toHaveLength(1);
  });
});
