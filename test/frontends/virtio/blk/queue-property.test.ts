import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PackedState } from '../../../../frontends/virtio/virtq/ring-state.ts';
import type { Framing, SentRequest } from '../../../support/blk-driver.ts';
import { pattern, QueueRig } from './queue-rig.ts';

const SECTORS = 64;
/** Each request of a batch has a part of the disk of its own: what overlaps and runs at once has no defined order. */
const SECTORS_EACH = 16;
const INDIRECT_DESC_BIT = 28;

const cuts = fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 3 });
const request = fc.record({
  kind: fc.constantFrom('read', 'write', 'zeroes', 'flush', 'id', 'unknown', 'beyond', 'unmapped'),
  at: fc.integer({ min: 0, max: SECTORS_EACH - 1 }),
  sectors: fc.integer({ min: 0, max: SECTORS_EACH }),
  seed: fc.nat(255),
  readable: cuts,
  writable: cuts,
  indirect: fc.boolean(),
  direct: fc.nat(3),
  asynchronous: fc.boolean(),
});
const batch = fc.record({
  requests: fc.array(request, { minLength: 1, maxLength: SECTORS / SECTORS_EACH }),
  /** Decides in which order asynchronous requests complete. */
  order: fc.array(fc.nat(), { minLength: 8, maxLength: 8 }),
  together: fc.boolean(),
});
const run = fc.record({
  batches: fc.array(batch, { minLength: 1, maxLength: 8 }),
  index: fc.oneof(fc.constant(0), fc.nat(300), fc.integer({ min: 65500, max: 65535 })),
  eventIdx: fc.boolean(),
  indirect: fc.boolean(),
  ring: fc.oneof(
    fc.record({ layout: fc.constant('split' as const), num: fc.constantFrom(64, 128) }),
    fc.record({ layout: fc.constant('packed' as const), num: fc.integer({ min: 36, max: 130 }) }),
  ),
});
type Run = typeof run extends fc.Arbitrary<infer T> ? T : never;
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;

interface Expected {
  readonly sent: SentRequest;
  readonly status: number | undefined;
  readonly payload?: Uint8Array;
}

/** Sends a request, applies it to the model, and says what to expect of it. */
function send(rig: QueueRig, model: Uint8Array, r: Request, part: number, framing: Framing): Expected {
  const sector = part * SECTORS_EACH + r.at;
  const sectors = Math.min(r.sectors, SECTORS_EACH - r.at);
  const range = [sector * 512, (sector + sectors) * 512] as const;
  const { driver } = rig;
  switch (r.kind) {
    case 'read':
      return { sent: driver.read(sector, sectors * 512, framing), status: 0, payload: model.slice(...range) };
    case 'write': {
      const data = pattern(sectors * 512, r.seed);
      model.set(data, range[0]);
      return { sent: driver.write(sector, data, framing), status: 0 };
    }
    case 'zeroes':
      model.fill(0, ...range);
      return { sent: driver.ranges(13, [{ sector, count: sectors }], framing), status: 0 };
    case 'flush':
      return { sent: driver.flush(), status: 0 };
    case 'id': {
      const payload = new Uint8Array(20);
      payload.set(new TextEncoder().encode('rig-0'));
      return { sent: driver.send(8, 0, new Uint8Array(0), 20, framing), status: 0, payload };
    }
    case 'unknown':
      return { sent: driver.send(99, sector, pattern(r.seed), r.at, framing), status: 2 };
    case 'beyond':
      return { sent: driver.write(SECTORS - 1, pattern(1024), framing), status: 1 };
    default: {
      const head = rig.ring.add([{ addr: 8 * r.at, len: 16 + r.seed, writable: r.at % 2 === 0 }]);
      return { sent: { head, readable: [], writable: [] }, status: undefined };
    }
  }
}

/** Plays a driver that sleeps between batches: it kicks only when asked, and looks only when interrupted. */
async function play({ batches, index, eventIdx, indirect, ring }: Run): Promise<void> {
  const without = indirect ? [] : [INDIRECT_DESC_BIT];
  const rig = new QueueRig({ ...ring, index, eventIdx, size: SECTORS * 512, memory: 2 ** 17, without });
  const model = new Uint8Array(SECTORS * 512);
  rig.device.data.set(pattern(model.length));
  model.set(pattern(model.length));
  rig.run();
  for (const { requests, order, together } of batches) {
    rig.ring.reuseMemory();
    rig.ring.enableInterrupts();
    rig.interrupts = 0;
    const waiting: (() => void)[] = [];
    let current = 0;
    rig.device.gate = () => {
      if (!requests[current % requests.length]!.asynchronous) return undefined;
      return new Promise((resolve) => waiting.push(resolve));
    };
    const kick = () => {
      if (rig.ring.needsKick()) rig.run();
    };
    const expected = requests.map((r, part) => {
      const direct = ring.layout === 'split' ? r.direct : 0;
      const framing = { ...r, indirect: r.indirect && indirect, direct };
      const sent = send(rig, model, r, part, framing);
      if (!together) kick();
      current++;
      return sent;
    });
    kick();
    for (let i = 0; waiting.length > 0; i++) {
      waiting.splice(order[i % order.length]! % waiting.length, 1)[0]!();
      if (i % 2 === 0) await Promise.resolve();
    }
    await rig.queue.drain();

    expect(rig.interrupts).toBeGreaterThan(0);
    const used = rig.ring.takeAllUsed();
    expect(used.map(({ head }) => head).sort()).toEqual(expected.map(({ sent }) => sent.head).sort());
    for (const { sent, status, payload } of expected) {
      if (status === undefined) continue;
      expect(rig.driver.status(sent)).toBe(status);
      if (payload === undefined) continue;
      expect(Buffer.compare(rig.driver.payload(sent), payload)).toBe(0);
      const { written } = used.find(({ head }) => head === sent.head)!;
      expect(written).toBe(payload.length + 1);
    }
    expect(Buffer.compare(rig.device.data, model)).toBe(0);
    expect(rig.ring.outstanding).toBe(0);
  }
  expect(rig.broken).toEqual([]);
  expect(rig.queue.inFlight).toBe(0);
}

describe('any sequence of requests', () => {
  it('has the effect it has on an array of bytes, and loses no kick and no interrupt', async () => {
    await fc.assert(fc.asyncProperty(run, play), { numRuns: 200 });
  }, 60_000);
});

describe('any bytes in the rings', () => {
  it('complete or stop a split queue; nothing escapes, and draining settles', async () => {
    const bytes = fc.uint8Array({ minLength: 16 * 8 + 64, maxLength: 16 * 8 + 64 });
    await fc.assert(
      fc.asyncProperty(bytes, fc.boolean(), fc.nat(65535), async (junk, eventIdx, ahead) => {
        const rig = new QueueRig({ num: 8, eventIdx, memory: 65536 });
        rig.device.gate = () => Promise.resolve();
        // Small addresses and lengths, or hardly any descriptor would point into memory.
        const view = new DataView(junk.buffer, junk.byteOffset);
        for (let i = 0; i < 8; i++) {
          view.setBigUint64(16 * i, BigInt(rig.ring.base + view.getUint16(16 * i, true)), true);
          view.setUint32(16 * i + 8, view.getUint16(16 * i + 8, true) >> 4, true);
          view.setUint16(16 * i + 14, view.getUint16(16 * i + 14, true) & 15, true);
          if (i % 2 === 0)
            for (let entry = 0; entry < 4; entry++) view.setUint16(132 + 2 * entry, entry, true);
        }
        rig.ring.bytes.set(junk, 0);
        rig.split.setAvailIndex(ahead % 12);
        rig.run();
        rig.run();
        await rig.queue.drain();
        expect(rig.queue.inFlight).toBe(0);
        const { publishedIndex: availIndex } = rig.split;
        expect(rig.broken.length === 1 || rig.queue.ringState).toEqual(
          rig.broken.length === 1 || { layout: 'split', availIndex },
        );
        expect(rig.memory.pins).toBe(rig.broken.length === 1 ? 0 : 1);
      }),
      { numRuns: 1000 },
    );
  }, 60_000);

  it('complete or stop a packed queue; nothing escapes, and draining settles', async () => {
    const descriptor = fc.record({
      addr: fc.nat(65535),
      len: fc.nat(4096),
      // Hardly any id or flags would get far if they were all equally likely.
      id: fc.oneof({ weight: 4, arbitrary: fc.nat(9) }, fc.nat(65535)),
      flags: fc.constantFrom(0, 1, 2, 3, 4, 5, 6),
      turn: fc.constantFrom(0x80, 0x80, 0x80, 0x8000, 0x8000, 0, 0x8080),
    });
    const junk = fc.array(descriptor, { minLength: 9, maxLength: 9 });
    await fc.assert(
      fc.asyncProperty(junk, fc.boolean(), fc.nat(17), fc.nat(), async (ring, eventIdx, index, events) => {
        const rig = new QueueRig({ layout: 'packed', num: 9, eventIdx, index, memory: 65536 });
        rig.device.gate = () => Promise.resolve();
        for (const [slot, { addr, len, id, flags, turn }] of ring.entries()) {
          rig.ring.view.setBigUint64(16 * slot, BigInt(rig.ring.base + addr), true);
          rig.ring.view.setUint32(16 * slot + 8, len, true);
          rig.ring.view.setUint16(16 * slot + 12, id, true);
          rig.packed.setFlags(slot, flags | turn);
        }
        rig.ring.view.setUint32(rig.ring.geometry.driverAddr - rig.ring.base, events, true);
        rig.run();
        rig.run();
        await rig.queue.drain();
        expect(rig.queue.inFlight).toBe(0);
        const { avail, used } = rig.queue.ringState as PackedState;
        expect(rig.broken.length === 1 || avail).toEqual(rig.broken.length === 1 || used);
        expect(rig.memory.pins).toBe(rig.broken.length === 1 ? 0 : 1);
      }),
      { numRuns: 1000 },
    );
  }, 60_000);
});
