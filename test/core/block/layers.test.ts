import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DeviceInfo, ResolvedDevice } from '../../../core/api/device.ts';
import { adaptDevice, protect } from '../../../core/block/layers.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { FakeDevice } from '../../support/fake-device.ts';

const SIZE = 1 << 20;

/** Cuts a buffer into segments at the given places. */
function segments(data: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set([0, ...cuts.map((cut) => cut % data.length), data.length])].sort(
    (a, b) => a - b,
  );
  return places.slice(1).map((end, i) => data.subarray(places[i]!, end));
}

const unit = (info: DeviceInfo) => Math.min(info.limits?.blockSize ?? 512, 4096);

async function runAgainstModel(info: DeviceInfo, seed: number | undefined): Promise<void> {
  const block = unit(info);
  const op = fc.record({
    kind: fc.constantFrom('read', 'write', 'writeZeroes', 'discard', 'prefetch'),
    start: fc.nat(SIZE / block - 1),
    blocks: fc.integer({ min: 1, max: 64 }),
    fill: fc.integer({ min: 1, max: 255 }),
    cuts: fc.array(fc.nat(1 << 18), { maxLength: 6 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(op, { maxLength: 20 }), async (ops) => {
      const fake = new FakeDevice(info);
      fake.gate = (call) => {
        const limits = info.limits ?? {};
        expect(call.offset % (limits.blockSize ?? 512)).toBe(0);
        expect(call.length % (limits.blockSize ?? 512)).toBe(0);
        if (call.op === 'read' || call.op === 'write' || call.op === 'prefetch') {
          expect(call.length).toBeLessThanOrEqual(limits.maxIo ?? SIZE);
          expect(call.segments).toBeLessThanOrEqual(limits.maxSegments ?? 1000);
        } else expect(call.length).toBeLessThanOrEqual(limits.maxDiscard ?? SIZE);
        return Promise.resolve();
      };
      const model = new Uint8Array(SIZE);
      const top: ResolvedDevice = adaptDevice(resolve(fake, 'fake')).device;
      for (const { kind, start, blocks, fill, cuts } of ops) {
        const offset = start * block;
        const length = Math.min(blocks * block, SIZE - offset);
        if (kind === 'read') {
          const target = new Uint8Array(length);
          await top.read(offset, segments(target, cuts), 0);
          expect(Buffer.compare(target, model.subarray(offset, offset + length))).toBe(0);
        } else if (kind === 'write') {
          const data = new Uint8Array(length).map((_, i) => fill + i);
          model.set(data, offset);
          await top.write(offset, segments(data, cuts), 0);
        } else if (kind === 'writeZeroes') {
          model.fill(0, offset, offset + length);
          await top.writeZeroes(offset, length, 0);
        } else if (kind === 'prefetch') {
          fake.calls.length = 0;
          await top.prefetch(offset, length);
          const covered = fake.calls.map((call) => [call.offset, call.offset + call.length]);
          expect(covered[0]![0]).toBeLessThanOrEqual(offset);
          expect(covered.at(-1)![1]).toBeGreaterThanOrEqual(offset + length);
          for (let i = 1; i < covered.length; i++) expect(covered[i]![0]).toBe(covered[i - 1]![1]);
        } else await top.discard(offset, length, 0);
      }
      expect(Buffer.compare(fake.data, model)).toBe(0);
    }),
    { numRuns: 60, ...(seed === undefined ? {} : { seed }) },
  );
}

describe('automatic layers', () => {
  it.each<[string, DeviceInfo]>([
    ['no limits at all', { size: SIZE }],
    ['a block of 4096', { size: SIZE, limits: { blockSize: 4096 } }],
    ['a block of 65536', { size: SIZE, limits: { blockSize: 65536 } }],
    [
      'a block of 16384 and small requests',
      { size: SIZE, limits: { blockSize: 16384, maxIo: 40_000, maxDiscard: 50_000 } },
    ],
    ['one segment at a time', { size: SIZE, limits: { maxSegments: 1, maxIo: 3000 } }],
    ['parallel, few segments', { size: SIZE, caps: { concurrency: 'parallel' }, limits: { maxSegments: 2 } }],
  ])('keep what was written, on a device with %s', async (_name, info) => {
    await runAgainstModel(info, undefined);
  });

  it('call a serial device once at a time, in order', async () => {
    const fake = new FakeDevice({ size: SIZE });
    fake.gate = () => new Promise((done) => setImmediate(done));
    const { device, added } = adaptDevice(resolve(fake, 'fake'));
    expect(added.map(({ name }) => name)).toEqual(['serialize']);
    const offsets = [0, 512, 1024, 1536];
    await Promise.all(offsets.map((offset) => device.read(offset, [new Uint8Array(512)], 0)));
    expect(fake.maxActive).toBe(1);
    expect(fake.calls.map(({ offset }) => offset)).toEqual(offsets);
  });

  it('go on after a serial device failed', async () => {
    const fake = new FakeDevice({ size: SIZE });
    fake.gate = ({ offset }) => (offset === 0 ? Promise.reject(new Error('first')) : Promise.resolve());
    const { device } = adaptDevice(resolve(fake, 'fake'));
    const first = device.read(0, [new Uint8Array(512)], 0);
    const second = device.read(512, [new Uint8Array(512)], 0);
    await expect(first).rejects.toThrow('first');
    await expect(second).resolves.toBeUndefined();
  });

  it('do not lose a write that shares a block with another', async () => {
    const fake = new FakeDevice({
      size: SIZE,
      caps: { concurrency: 'parallel' },
      limits: { blockSize: 65536 },
    });
    fake.gate = () => new Promise((done) => setImmediate(done));
    const { device } = adaptDevice(resolve(fake, 'fake'));
    const writes = Array.from({ length: 16 }, (_, i) =>
      device.write(i * 4096, [new Uint8Array(4096).fill(i + 1)], 0),
    );
    await Promise.all(writes);
    for (let i = 0; i < 16; i++) expect(fake.data[i * 4096]).toBe(i + 1);
  });

  it('protect a disk that is configured read-only, and say so', async () => {
    const fake = new FakeDevice({ size: SIZE, caps: { concurrency: 'parallel' } });
    const { device, added } = protect(resolve(fake, 'fake'), true);
    expect(added.map(({ name }) => name)).toEqual(['readonly']);
    expect(device.caps.write).toBe(false);
    expect(() => device.write(0, [new Uint8Array(512)], 0)).toThrow('read-only');
    expect(fake.calls).toEqual([]);
    expect(device.caps.prefetch).toBe(true);
    await device.prefetch(0, 512);
    expect(fake.calls.map(({ op }) => op)).toEqual(['prefetch']);
  });
});
