import { describe, expect, it } from 'vitest';
import { type BlockErrno, BlockError } from '../../../../core/api/errors.ts';
import { LAYOUTS } from '../../../support/make-ring.ts';
import { pattern, QueueRig } from './queue-rig.ts';

const OK = 0;
const IOERR = 1;
const UNSUPP = 2;
const FLUSH_BIT = 9;

describe.each(LAYOUTS)('a read or write, %s ring', (layout) => {
  it('reaches the disk and comes back, with the number of bytes written', () => {
    const rig = new QueueRig({ layout });
    const write = rig.driver.write(8, pattern(4096));
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head: write.head, written: 1 }]);
    const read = rig.driver.read(8, 4096);
    rig.run();
    expect(rig.ring.takeAllUsed()).toEqual([{ head: read.head, written: 4097 }]);
    expect([rig.driver.status(write), rig.driver.status(read)]).toEqual([OK, OK]);
    expect(rig.driver.payload(read)).toEqual(pattern(4096));
  });

  it.each([
    ['one descriptor each way', { readable: [], writable: [] }],
    ['the header in pieces', { readable: [1, 3, 8], writable: [] }],
    ['header and payload in pieces that do not meet at 16', { readable: [7, 100, 1000], writable: [] }],
    ['the status in the last piece of the payload', { readable: [16], writable: [512, 100] }],
    ['an indirect table', { readable: [16], writable: [512, 511], indirect: true }],
  ])('may be framed as it likes: %s', (_, framing) => {
    const rig = new QueueRig({ layout });
    const write = rig.driver.write(3, pattern(1024), framing);
    rig.run();
    const read = rig.driver.read(3, 1024, framing);
    rig.run();
    expect(rig.ring.takeAllUsed().map((used) => used.written)).toEqual([1, 1025]);
    expect([rig.driver.status(write), rig.driver.status(read)]).toEqual([OK, OK]);
    expect(rig.driver.payload(read)).toEqual(pattern(1024));
  });

  it('arrives in as few segments as its addresses allow', () => {
    const rig = new QueueRig({ layout, num: 64 });
    const addr = rig.ring.allocate(32 * 4096, 4096);
    const status = rig.ring.allocate(1);
    const header = rig.driver.read(0, 0).readable[0]!;
    const pages = Array.from({ length: 32 }, (__, i) => ({
      addr: addr + 4096 * i,
      len: 4096,
      writable: true,
    }));
    rig.ring.add([header, ...pages, { addr: status, len: 1, writable: true }]);
    rig.run();
    expect(rig.device.calls).toEqual([expect.objectContaining({ op: 'read', length: 131072, segments: 1 })]);
  });

  it('of nothing succeeds without troubling the disk', () => {
    const rig = new QueueRig({ layout });
    const request = rig.driver.read(0, 0);
    rig.run();
    expect(rig.driver.status(request)).toBe(OK);
    expect(rig.ring.takeUsed()!.written).toBe(1);
    expect(rig.device.calls).toEqual([]);
  });

  it('that fails says so, claims no byte, and reports why', () => {
    const rig = new QueueRig({ layout });
    const error = new BlockError('ETIMEDOUT', 'the store did not answer');
    rig.device.gate = () => {
      throw error;
    };
    const request = rig.driver.read(0, 512);
    rig.run();
    expect(rig.driver.status(request)).toBe(IOERR);
    expect(rig.ring.takeAllUsed()).toEqual([{ head: request.head, written: 0 }]);
    expect(rig.errors).toEqual([error]);
  });

  it.each<[BlockErrno, number]>([
    ['ENOTSUP', UNSUPP],
    ['EIO', IOERR],
    ['ENOSPC', IOERR],
    ['ESHUTDOWN', IOERR],
  ])('that fails later with %s gets status %i', async (code, status) => {
    const rig = new QueueRig({ layout });
    rig.device.gate = () => Promise.reject(new BlockError(code, 'later'));
    const request = rig.driver.write(0, pattern(512));
    rig.run();
    await rig.queue.drain();
    expect(rig.driver.status(request)).toBe(status);
  });
});

describe.each(LAYOUTS)('a flush, %s ring', (layout) => {
  it('flushes the disk', () => {
    const rig = new QueueRig({ layout });
    const flush = rig.driver.flush();
    rig.run();
    expect(rig.device.calls.map((call) => call.op)).toEqual(['flush']);
    expect(rig.driver.status(flush)).toBe(OK);
  });

  it('that the driver cannot send is made good for by flushing after each write, before it completes', async () => {
    const rig = new QueueRig({ layout, without: [FLUSH_BIT] });
    const flushed = Promise.withResolvers<void>();
    rig.device.gate = (call) => (call.op === 'flush' ? flushed.promise : undefined);
    const write = rig.driver.write(0, pattern(512));
    rig.run();
    expect(rig.device.calls.map((call) => call.op)).toEqual(['write', 'flush']);
    expect(rig.ring.takeUsed()).toBeUndefined();
    flushed.resolve();
    await rig.queue.drain();
    expect(rig.driver.status(write)).toBe(OK);
    expect(rig.ring.takeUsed()!.head).toBe(write.head);
  });

  it('is not added to reads, nor to writes of a driver that can flush', () => {
    const rig = new QueueRig({ layout, without: [FLUSH_BIT] });
    rig.driver.read(0, 512);
    rig.run();
    const other = new QueueRig({ layout });
    other.driver.write(0, pattern(512));
    other.run();
    expect(rig.device.calls.map((call) => call.op)).toEqual(['read']);
    expect(other.device.calls.map((call) => call.op)).toEqual(['write']);
  });
});

describe.each(LAYOUTS)('GET_ID, %s ring', (layout) => {
  it.each([
    ['20 bytes, padded', 'disk0', 20, 'disk0'.padEnd(20, '\0'), 21],
    ['20 characters without a terminator', '0123456789abcdefghij', 20, '0123456789abcdefghij', 21],
    ['no more than 20 characters', '0123456789abcdefghijklm', 20, '0123456789abcdefghij', 21],
    ['what fits', 'disk0', 3, 'dis', 4],
    ['20 bytes of a longer buffer', 'disk0', 32, `disk0${'\0'.repeat(15)}${'\xee'.repeat(12)}`, 20],
  ])('returns %s', (_, serial, length, expected, written) => {
    const rig = new QueueRig({ layout, queue: { serial } });
    const request = rig.driver.send(8, 0, new Uint8Array(0), length);
    rig.run();
    expect(String.fromCharCode(...rig.driver.payload(request))).toBe(expected);
    expect(rig.driver.status(request)).toBe(OK);
    expect(rig.ring.takeUsed()!.written).toBe(written);
  });
});

describe.each(LAYOUTS)('discard and write-zeroes, %s ring', (layout) => {
  it('carry out every segment, in order', () => {
    const rig = new QueueRig({ layout });
    rig.device.data.fill(1);
    const discard = rig.driver.ranges(11, [
      { sector: 8, count: 8 },
      { sector: 100, count: 1 },
    ]);
    const zeroes = rig.driver.ranges(13, [
      { sector: 4, count: 2 },
      { sector: 0, count: 1, flags: 1 },
    ]);
    rig.run();
    expect(rig.device.calls).toEqual([
      { op: 'discard', offset: 4096, length: 4096, flags: 0, segments: 0 },
      { op: 'discard', offset: 51200, length: 512, flags: 0, segments: 0 },
      { op: 'writeZeroes', offset: 2048, length: 1024, flags: 0, segments: 0 },
      { op: 'writeZeroes', offset: 0, length: 512, flags: 2, segments: 0 },
    ]);
    expect([rig.driver.status(discard), rig.driver.status(zeroes)]).toEqual([OK, OK]);
  });

  it('wait for one segment before they start the next', async () => {
    const rig = new QueueRig({ layout });
    rig.device.gate = () => Promise.resolve();
    const request = rig.driver.ranges(13, [
      { sector: 0, count: 1 },
      { sector: 1, count: 1 },
      { sector: 2, count: 1 },
    ]);
    rig.run();
    await rig.queue.drain();
    expect(rig.device.calls.map((call) => call.offset)).toEqual([0, 512, 1024]);
    expect(rig.device.maxActive).toBe(1);
    expect(rig.driver.status(request)).toBe(OK);
  });

  it('stop at the first segment that fails', async () => {
    const rig = new QueueRig({ layout });
    rig.device.gate = (call) =>
      call.offset === 512 ? Promise.reject(new BlockError('EIO', 'bad')) : Promise.resolve();
    const request = rig.driver.ranges(11, [
      { sector: 0, count: 1 },
      { sector: 1, count: 1 },
      { sector: 2, count: 1 },
    ]);
    rig.run();
    await rig.queue.drain();
    expect(rig.device.calls).toHaveLength(2);
    expect(rig.driver.status(request)).toBe(IOERR);
  });

  it('that failed half-way leave nothing behind for the next request', () => {
    const rig = new QueueRig({ layout });
    rig.device.gate = () => {
      throw new BlockError('EIO', 'bad');
    };
    const zeroes = rig.driver.ranges(13, [
      { sector: 0, count: 1 },
      { sector: 1, count: 1 },
    ]);
    rig.run();
    rig.ring.takeAllUsed();
    rig.device.gate = undefined;
    const read = rig.driver.read(0, 512);
    expect(read.head).toBe(zeroes.head);
    rig.run();
    expect(rig.device.calls.map((call) => call.op)).toEqual(['writeZeroes', 'read']);
  });

  it.each([
    ['an empty segment: nothing to do', 11, [{ sector: 0, count: 0 }], OK],
    ['no segment', 11, [], IOERR],
    ['more segments than allowed', 11, Array.from({ length: 65 }, () => ({ sector: 0, count: 1 })), IOERR],
    ['a flag on a discard', 11, [{ sector: 0, count: 1, flags: 1 }], UNSUPP],
    ['an unknown flag on write-zeroes', 13, [{ sector: 0, count: 1, flags: 2 }], UNSUPP],
    ['a sector that no disk has', 13, [{ sector: 2n ** 63n, count: 1 }], IOERR],
    [
      'a bad segment after a good one',
      11,
      [
        { sector: 0, count: 1 },
        { sector: 0, count: 1, flags: 4 },
      ],
      UNSUPP,
    ],
  ] as const)('with %s', (_, type, ranges, status) => {
    const rig = new QueueRig({ layout, num: 128 });
    const request = rig.driver.ranges(type, ranges);
    rig.run();
    expect(rig.driver.status(request)).toBe(status);
    expect(rig.device.calls).toEqual([]);
  });

  it.each([
    ['longer than the limit', { maxDiscardSectors: 8 }, 9],
    ['longer than the disk', {}, 4096],
  ])('refuse a segment that is %s', (_, change, count) => {
    const plain = new QueueRig({ layout });
    const limits = { ...plain.limits, ...change };
    const rig = new QueueRig({ layout, queue: { limits } });
    const request = rig.driver.ranges(11, [{ sector: 0, count }]);
    rig.run();
    expect(rig.driver.status(request)).toBe(IOERR);
    expect(rig.device.calls).toEqual([]);
  });

  it('are unsupported when they were not negotiated', () => {
    const rig = new QueueRig({ layout, without: [13, 14] });
    const requests = [11, 13].map((type) => rig.driver.ranges(type, [{ sector: 0, count: 1 }]));
    rig.run();
    expect(requests.map((request) => rig.driver.status(request))).toEqual([UNSUPP, UNSUPP]);
  });
});

describe.each(LAYOUTS)('a request that is not one, %s ring', (layout) => {
  it.each<[string, number, (rig: QueueRig) => ReturnType<QueueRig['driver']['read']>]>([
    ['a read that is not whole sectors', IOERR, ({ driver }) => driver.read(0, 1000)],
    ['a write that is not whole sectors', IOERR, ({ driver }) => driver.write(0, pattern(511))],
    ['a read beyond the end', IOERR, ({ driver }) => driver.read(2047, 1024)],
    ['a write beyond the end', IOERR, ({ driver }) => driver.write(2048, pattern(512))],
    ['a sector that overflows', IOERR, ({ driver }) => driver.send(0, 2n ** 55n, new Uint8Array(0), 512)],
    ['the last sector of all', IOERR, ({ driver }) => driver.send(0, 2n ** 64n - 1n, new Uint8Array(0), 512)],
    ['a sector whose byte is not exact', IOERR, ({ driver }) => driver.send(1, 2n ** 45n, pattern(512), 0)],
    ['an unknown type', UNSUPP, ({ driver }) => driver.send(77, 0, new Uint8Array(0), 0)],
    ['a zoned request', UNSUPP, ({ driver }) => driver.send(16, 0, new Uint8Array(0), 512)],
    ['a secure erase', UNSUPP, ({ driver }) => driver.ranges(14, [{ sector: 0, count: 1 }])],
    ['GET_LIFETIME', UNSUPP, ({ driver }) => driver.send(10, 0, new Uint8Array(0), 24)],
  ])('fails: %s', (_, status, send) => {
    const rig = new QueueRig({ layout });
    const request = send(rig);
    rig.run();
    expect(rig.driver.status(request)).toBe(status);
    expect(rig.ring.takeAllUsed()).toHaveLength(1);
    expect(rig.device.calls).toEqual([]);
  });

  it('fails when it is longer than the limits allow', () => {
    const rig = new QueueRig({
      layout,
      queue: { limits: { ...new QueueRig({ layout }).limits, sizeMax: 1024, segMax: 2 } },
    });
    const fits = rig.driver.read(0, 2048);
    const tooLong = rig.driver.read(0, 2560);
    rig.run();
    expect([rig.driver.status(fits), rig.driver.status(tooLong)]).toEqual([OK, IOERR]);
  });

  it('fails when it writes to a read-only disk', () => {
    const rig = new QueueRig({ layout, readOnly: true });
    const requests = [
      rig.driver.write(0, pattern(512)),
      rig.driver.ranges(11, [{ sector: 0, count: 1 }]),
      rig.driver.read(0, 512),
    ];
    rig.run();
    expect(requests.map((request) => rig.driver.status(request))).toEqual([IOERR, UNSUPP, OK]);
    expect(rig.device.calls.map((call) => call.op)).toEqual(['read']);
  });
});
