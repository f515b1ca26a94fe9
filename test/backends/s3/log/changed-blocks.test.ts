import { describe, expect, it } from 'vitest';
import { listChanges } from '../../../../backends/s3/log/volume/changed-blocks.ts';
import { createSnapshot, rollbackVolume } from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { withWriter } from '../../../../backends/s3/log/volume/with-writer.ts';
import { withStore } from '../../../../backends/s3/operation.ts';
import type { ChangedRange } from '../../../../core/plugin.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { type FakeBucket, FakeStore } from '../fake-store.ts';
import { context, MIB, pattern, readAll } from '../harness.ts';
import { BLOCK, newVolume, opened, operate, refusal, settings } from './disk.ts';
import { keyFile } from './key-files.ts';

const PAGE = 64 * MIB;
/** Four pages of the map; of each a little is used. */
const SIZE = 4 * PAGE;
const USED = 16 * BLOCK;
const PLACES = [0, PAGE - USED / 2, 2 * PAGE + 5 * MIB, SIZE - USED];

const changes = async (
  bucket: FakeBucket,
  snapshots: { readonly from: string; readonly to?: string },
  options: Record<string, unknown> = {},
): Promise<ChangedRange[]> => {
  const found: ChangedRange[] = [];
  await operate(
    bucket,
    (operation) => listChanges(operation, snapshots, (range) => found.push(range)),
    options,
  );
  return found;
};

const snapshot = (bucket: FakeBucket, name: string, options: Record<string, unknown> = {}) =>
  operate(bucket, (operation) => createSnapshot(operation, name), options);

async function content(bucket: FakeBucket, options: Record<string, unknown>): Promise<Map<number, Buffer>> {
  await using disk = await opened(bucket, options, { readOnly: true });
  const blocks = new Map<number, Buffer>();
  for (const place of PLACES) {
    const bytes = Buffer.from(await readAll(disk.device, place, USED));
    for (let at = 0; at < USED; at += BLOCK) blocks.set(place + at, bytes.subarray(at, at + BLOCK));
  }
  return blocks;
}

describe('what has changed since a snapshot', () => {
  it.each<[number, Record<string, unknown>]>([
    [1, {}],
    [2, {}],
    [3, {}],
    [4, { encryption: keyFile('key') }],
  ])('is all listed, whatever was moved meanwhile: seed %i', { timeout: 30_000 }, async (seed, options) => {
    const random = seededRandom(seed);
    const below = (limit: number): number => Math.floor(random() * limit);
    const bucket = await newVolume(SIZE, { ...options, spaceAmplification: 1.1 });
    const states = new Map<string, Map<number, Buffer>>();
    for (let round = 0; round < 8; round++) {
      {
        await using disk = await opened(bucket, { ...options, spaceAmplification: 1.1 });
        for (let i = below(25); i >= 0; i--) {
          const place = PLACES[below(below(2) === 0 ? 1 : 4)]!;
          const at = below(USED / BLOCK);
          const count = 1 + below(USED / BLOCK - at);
          if (below(5) === 0) await disk.device.discard!(place + at * BLOCK, count * BLOCK, 0);
          else await disk.device.write!(place + at * BLOCK, [pattern(count * BLOCK, below(200))], 0);
          if (below(3) === 0) await disk.device.flush!(0);
        }
        await disk.device.flush!(0);
      }
      if (below(2) === 0)
        await operate(bucket, (operation) => withWriter(operation, (writer) => writer.checkpoint()), options);
      if (round === 5) await operate(bucket, (operation) => rollbackVolume(operation, 's2'), options);
      states.set(`s${round}`, await content(bucket, options));
      await snapshot(bucket, `s${round}`, options);
    }
    for (const [from, old] of states)
      for (const [to, now] of states) {
        const ranges = await changes(bucket, { from, to }, options);
        let end = -1;
        const listed = new Map<number, ChangedRange['kind']>();
        for (const { offset, length, kind } of ranges) {
          expect(offset, 'in order, and joined').toBeGreaterThanOrEqual(end);
          end = offset + length;
          for (let at = offset; at < end; at += BLOCK) listed.set(at, kind);
        }
        for (const [at, bytes] of now) {
          const where = `seed ${seed}, ${from} to ${to}, block at ${at}`;
          if (!bytes.equals(old.get(at)!)) expect(listed.has(at), where).toBe(true);
          if (listed.get(at) === 'hole')
            expect(
              bytes.every((byte) => byte === 0),
              where,
            ).toBe(true);
        }
        if (from === to) expect(ranges).toEqual([]);
      }
  });

  it('is found without reading what has not, also of a disk in use', async () => {
    const bucket = await newVolume(SIZE);
    await using disk = await opened(bucket);
    for (let at = 0; at < SIZE; at += PAGE) await disk.device.write!(at, [pattern(MIB, 1)], 0);
    await disk.device.snapshot!('full');
    await disk.device.write!(PAGE + 8 * BLOCK, [pattern(2 * BLOCK, 2)], 0);
    await disk.device.discard!(3 * PAGE, MIB, 0);
    await disk.device.flush!(0);
    const store = new FakeStore(bucket);
    const found: ChangedRange[] = [];
    await withStore(store, settings(), context(), (operation) =>
      listChanges(operation, { from: 'full' }, (range) => found.push(range)),
    );
    expect(found).toEqual([
      { offset: PAGE + 8 * BLOCK, length: 2 * BLOCK, kind: 'data' },
      { offset: 3 * PAGE, length: MIB, kind: 'hole' },
    ]);
    // Where things are in two checkpoints, and two pages of four.
    expect(store.count('read', '/ckpt/')).toBe(2 + 2 * 2);
    await disk.device.snapshot!('later');
    expect(await changes(bucket, { from: 'full', to: 'later' })).toHaveLength(2);
    expect(await changes(bucket, { from: 'later' })).toEqual([]);
  });

  it('is refused for a snapshot that is not there', async () => {
    const bucket = await newVolume(SIZE);
    expect(await refusal(changes(bucket, { from: 'none' }))).toMatchObject({
      code: 'volume.snapshot-not-found',
    });
  });
});
