import { describe, expect, it } from 'vitest';
import { NO_STATUS } from '../../../support/blk-driver.ts';
import type { Descriptor, DriverRing } from '../../../support/driver-ring.ts';
import { LAYOUTS } from '../../../support/make-ring.ts';
import { pattern, QueueRig } from './queue-rig.ts';

/** Addresses, lengths and sectors at the edges of what numbers, regions and the disk can hold. */

const OK = 0;
const IOERR = 1;
const READ = 0;
const WRITE = 1;
const DISCARD = 11;
const WRITE_ZEROES = 13;
const INDIRECT = 4;
const TOP = 2n ** 64n;
const SECTORS = 2 ** 20 / 512;

function parts(ring: DriverRing, type: number) {
  const header: Descriptor = { addr: ring.allocate(16), len: 16 };
  ring.at(Number(header.addr), 16).fill(0)[0] = type;
  const status = { addr: ring.allocate(1), len: 1, writable: true };
  ring.at(status.addr, 1)[0] = NO_STATUS;
  const payload = { addr: ring.allocate(512), len: 512, writable: true };
  return { header, status, payload };
}

describe.each(LAYOUTS)('an address that overflows, %s ring', (layout) => {
  type Build = (p: ReturnType<typeof parts>) => Descriptor[];
  it.each<[string, Build, number]>([
    [
      'a payload that wraps around 2^64',
      (p) => [p.header, { ...p.payload, addr: TOP - 256n }, p.status],
      IOERR,
    ],
    [
      'a payload that reaches beyond 2^53',
      (p) => [p.header, { ...p.payload, addr: 2 ** 53 - 256 }, p.status],
      IOERR,
    ],
    ['a header that wraps around 2^64', (p) => [{ addr: TOP - 8n, len: 16 }, p.payload, p.status], IOERR],
    ['a table that wraps around 2^64', () => [{ addr: TOP - 16n, len: 48, flags: INDIRECT }], NO_STATUS],
    [
      'a status that wraps around 2^64',
      (p) => [p.header, { addr: TOP - 512n, len: 1024, writable: true }],
      NO_STATUS,
    ],
    [
      'a status that reaches beyond 2^53',
      (p) => [p.header, { addr: 2 ** 53 - 1, len: 0xffff_ffff, writable: true }],
      NO_STATUS,
    ],
  ])('leads nowhere: %s', (_, build, status) => {
    const rig = new QueueRig({ layout });
    const p = parts(rig.ring, READ);
    const head = rig.ring.add(build(p));
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head, written: 0 }]);
    expect(rig.ring.at(p.status.addr, 1)[0]).toBe(status);
    expect(rig.malformed).toHaveLength(1);
    expect(rig.device.calls).toEqual([]);
    expect(rig.broken).toEqual([]);
  });
});

describe('a range over two regions', () => {
  it('is cut where they meet, and written only if both may be', () => {
    const rig = new QueueRig({ readOnlyTail: 4096 });
    const border = rig.ring.base + rig.ring.buffer.byteLength - 4096;
    rig.device.data.fill(0xff);
    const r = parts(rig.ring, READ);
    rig.ring.add([r.header, { addr: border - 256, len: 512, writable: true }, r.status]);
    rig.run();
    expect(rig.ring.at(r.status.addr, 1)[0]).toBe(IOERR);
    expect(rig.ring.at(border - 256, 512).every((byte) => byte === 0)).toBe(true);
    expect(rig.device.calls).toEqual([]);

    const w = parts(rig.ring, WRITE);
    rig.ring.at(border - 256, 512).fill(7);
    rig.ring.add([w.header, { addr: border - 256, len: 512 }, w.status]);
    rig.run();
    expect(rig.ring.at(w.status.addr, 1)[0]).toBe(OK);
    expect(rig.device.calls).toMatchObject([{ op: 'write', length: 512, segments: 2 }]);
    expect(rig.device.data.subarray(0, 512).every((byte) => byte === 7)).toBe(true);
  });
});

describe.each(LAYOUTS)('descriptors without a byte, %s ring', (layout) => {
  it('mean nothing, wherever they stand and point', () => {
    const rig = new QueueRig({ layout });
    rig.device.data.fill(9);
    const { header, payload, status } = parts(rig.ring, READ);
    const nothing = { addr: TOP - 1n, len: 0 };
    const nowhere = { addr: 16, len: 0, writable: true };
    const chain = [nothing, header, nowhere, nothing, payload, nothing, status, nowhere, nothing];
    const head = rig.ring.add(chain);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head, written: 513 }]);
    expect(rig.ring.at(status.addr, 1)[0]).toBe(OK);
    expect(rig.ring.at(Number(payload.addr), 512).every((byte) => byte === 9)).toBe(true);
    expect(rig.malformed).toEqual([]);
  });
});

describe('a sector beyond the disk', () => {
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
  const types = [READ, WRITE, DISCARD, WRITE_ZEROES];
  it.each(types.flatMap((type) => sectors.map((sector) => [type, sector] as const)))(
    'fails and reaches nobody: type %i, sector %s',
    (type, sector) => {
      const rig = new QueueRig();
      const { driver } = rig;
      const sent =
        type === DISCARD || type === WRITE_ZEROES
          ? driver.ranges(type, [{ sector, count: 2 }])
          : driver.send(type, sector, pattern(type * 1024), type === READ ? 1024 : 0);
      rig.run();
      expect(driver.status(sent)).toBe(IOERR);
      expect(rig.device.calls).toEqual([]);
      expect(rig.ring.takeAllUsed()).toHaveLength(1);
    },
  );

  it('fails for as many sectors as a segment can name', () => {
    const rig = new QueueRig();
    const sent = rig.driver.ranges(DISCARD, [{ sector: 0, count: 0xffff_ffff }]);
    rig.run();
    expect(rig.driver.status(sent)).toBe(IOERR);
    expect(rig.device.calls).toEqual([]);
  });
});
