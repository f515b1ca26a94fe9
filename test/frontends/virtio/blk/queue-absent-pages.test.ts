import { closeSync, ftruncateSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MemoryMap, PROT_READ, PROT_WRITE } from '../../../../core/system/memory-map.ts';
import { GuestMemory } from '../../../../frontends/virtio/memory/guest-memory.ts';
import { Access, Mapping } from '../../../../frontends/virtio/memory/mapping.ts';
import type { RingLayout } from '../../../../frontends/virtio/virtq/ring-state.ts';
import type { RingGeometry } from '../../../../frontends/virtio/virtq/virtqueue.ts';
import { NO_STATUS } from '../../../support/blk-driver.ts';
import type { Descriptor, DriverRing } from '../../../support/driver-ring.ts';
import { LAYOUTS, makeRing } from '../../../support/make-ring.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { QueueRig } from './queue-rig.ts';

/**
 * Memory with pages whose touch raises SIGBUS, which would end this process. A driver has such pages in its bounce
 * memory wherever it never put anything.
 */

const BYTES = 2 ** 18;
const PAGE = 4096;
const BASE = 0x10000;
/** Address of the first page that is not there. */
const ABSENT = BASE + BYTES;
const IOERR = 1;

function rigWithAbsentPages(layout: RingLayout, ring?: Partial<RingGeometry>) {
  const folder = tempFolder();
  const fd = openSync(folder.file('ram'), 'w+');
  ftruncateSync(fd, BYTES);
  const map = new MemoryMap(fd, 0, 2 * BYTES, PROT_READ | PROT_WRITE);
  const { buffer } = map;
  const probe = (offset: number, length: number): boolean => map.probe(offset, length);
  const whole = { iova: BASE, length: 2 * BYTES, access: Access.READ_WRITE, buffer, probe };
  const memory = new GuestMemory(() => new Mapping(whole));
  const { geometry } = makeRing(layout, { num: 16, base: BASE, buffer });
  const dispose = () => {
    map.unmap();
    closeSync(fd);
    folder[Symbol.dispose]();
  };
  try {
    const queue = { memory, ring: { ...geometry, ...ring } };
    const rig = new QueueRig({ layout, num: 16, base: BASE, buffer, queue });
    return { rig, [Symbol.dispose]: dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

function parts(ring: DriverRing, type: number) {
  const header: Descriptor = { addr: ring.allocate(16), len: 16 };
  ring.at(Number(header.addr), 16).fill(0)[0] = type;
  const status = { addr: ring.allocate(1), len: 1, writable: true };
  ring.at(status.addr, 1)[0] = NO_STATUS;
  const payload = { addr: ring.allocate(512), len: 512, writable: true };
  return { header, status, payload };
}

type Build = (ring: DriverRing, p: ReturnType<typeof parts>, absent: number) => number;

describe.each(LAYOUTS)('a chain that leads to pages which do not exist, %s ring', (layout) => {
  const READ = 0;
  const WRITE = 1;
  const GET_ID = 8;
  const WRITE_ZEROES = 13;
  it.each<[string, number, Build]>([
    ['a header', READ, (ring, p, addr) => ring.add([{ addr, len: 16 }, p.payload, p.status])],
    ['half a header', READ, (ring, p, addr) => ring.add([{ addr: addr - 8, len: 16 }, p.payload, p.status])],
    [
      'what is read',
      READ,
      (ring, p, addr) => ring.add([p.header, { addr, len: 512, writable: true }, p.status]),
    ],
    [
      'the end of what is read',
      READ,
      (ring, p, addr) => ring.add([p.header, { addr: addr - PAGE, len: 2 * PAGE, writable: true }, p.status]),
    ],
    ['what is written', WRITE, (ring, p, addr) => ring.add([p.header, { addr, len: 512 }, p.status])],
    [
      'what identifies',
      GET_ID,
      (ring, p, addr) => ring.add([p.header, { addr, len: 20, writable: true }, p.status]),
    ],
    ['segments', WRITE_ZEROES, (ring, p, addr) => ring.add([p.header, { addr, len: 16 }, p.status])],
  ])('fails, and nothing else does: %s', (_, type, build) => {
    using setup = rigWithAbsentPages(layout);
    const { rig } = setup;
    const p = parts(rig.ring, type);
    const head = build(rig.ring, p, ABSENT);
    const good = rig.driver.read(0, 512);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([
      { head, written: expect.any(Number) },
      { head: good.head, written: 513 },
    ]);
    expect(rig.ring.at(p.status.addr, 1)[0]).toBe(IOERR);
    expect(rig.malformed).toHaveLength(1);
    expect(rig.device.calls).toHaveLength(1);
  });

  it.each<[string, Build]>([
    ['a status', (ring, p, addr) => ring.add([p.header, p.payload, { addr, len: 1, writable: true }])],
    [
      'a status right behind its payload',
      (ring, p, addr) => ring.add([p.header, { addr: addr - 512, len: 513, writable: true }]),
    ],
    ['an indirect table', (ring, _, addr) => ring.add([{ addr, len: 48, flags: 4 }])],
    ['half an indirect table', (ring, _, addr) => ring.add([{ addr: addr - 16, len: 48, flags: 4 }])],
  ])('is given back with length 0 where no status can be written: %s', (_, build) => {
    using setup = rigWithAbsentPages(layout);
    const { rig } = setup;
    const head = build(rig.ring, parts(rig.ring, READ), ABSENT);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head, written: 0 }]);
    expect(rig.malformed).toHaveLength(1);
    expect(rig.device.calls).toEqual([]);
    expect(rig.broken).toEqual([]);
  });
});

describe.each(LAYOUTS)('a ring on pages that do not exist, %s', (layout) => {
  it.each(['descAddr', 'driverAddr', 'deviceAddr'])('is refused before it is looked at: %s', (part) => {
    // Its first bytes are there, if it has more than a few.
    const addr = layout === 'packed' && part !== 'descAddr' ? ABSENT : ABSENT - 32;
    expect(() => rigWithAbsentPages(layout, { [part]: addr })).toThrow(
      expect.objectContaining({ code: 'virtio.bad-ring', why: expect.stringContaining('do not exist') }),
    );
  });
});
