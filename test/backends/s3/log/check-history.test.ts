import { describe, expect, it } from 'vitest';
import { readHeader } from '../../../../backends/s3/log/cache/frame-cache.ts';
import {
  cloneVolume,
  createSnapshot,
  deleteSnapshot,
  rollbackVolume,
} from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { withWriter } from '../../../../backends/s3/log/volume/with-writer.ts';
import { deleteVolume } from '../../../../backends/s3/volumes.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { FakeStore } from '../fake-store.ts';
import { MIB, pattern } from '../harness.ts';
import { check, errorsOf, newVolume, on, SIZE, settings, withDisk, write } from './check-world.ts';

describe('a volume with a history', () => {
  it('is sound after what its emptiest objects held was moved', async () => {
    const bucket = await newVolume();
    await write(bucket, 'a', ...Array.from({ length: 8 }, (_, i) => [i * MIB, i + 1] as const));
    await withDisk(bucket, 'a', async (device) => {
      for (let i = 0; i < 8; i++) await device.write!(i * MIB, [pattern((i * MIB) / 8, 20)], 0);
      await device.flush!(0);
    });
    await on(bucket, 'a', (operation) => withWriter(operation, (writer) => writer.checkpoint()));
    const store = new FakeStore(bucket);
    const headers = await Promise.all(
      store.keys('a/log/').map((key) => readHeader(store, { name: key, key: undefined })),
    );
    const hasCopies = (found: (typeof headers)[number]): boolean =>
      typeof found === 'object' && found.header.extents.some(({ kind }) => kind === 'copy');
    expect(headers.some(hasCopies)).toBe(true);
    expect((await check(bucket)).findings).toEqual([]);
    await on(bucket, 'a', (operation) => withWriter(operation, (writer) => writer.checkpoint()));
    expect((await check(bucket)).findings).toEqual([]);
  });

  it.each([1, 2, 3, 4])(
    'is sound all along, and its clones are: seed %i',
    { timeout: 60_000 },
    async (seed) => {
      const random = seededRandom(seed);
      const below = (limit: number): number => Math.floor(random() * limit);
      const bucket = await newVolume();
      const volumes = ['a'];
      const snapshots = new Map<string, string[]>([['a', []]]);
      for (let step = 0; step < 25; step++) {
        const prefix = volumes[below(volumes.length)]!;
        const kept = snapshots.get(prefix)!;
        const draw = below(10);
        if (draw < 5)
          await withDisk(
            bucket,
            prefix,
            async (device) => {
              for (let i = below(30); i >= 0; i--) {
                const at = below(SIZE / 4096 / 32) * 4096;
                if (below(5) === 0) await device.discard!(at, 16 * 4096, 0);
                else await device.write!(at, [pattern((1 + below(40)) * 4096, step + 1)], 0);
                if (below(3) === 0) await device.flush!(0);
              }
              await device.flush!(0);
              if (below(2) === 0) {
                await device.snapshot!(`s${step}`);
                kept.push(`s${step}`);
              }
            },
            { takeOver: true },
          );
        else if (draw < 6) {
          await on(bucket, prefix, (operation) => createSnapshot(operation, `s${step}`));
          kept.push(`s${step}`);
        } else if (kept.length > 0) {
          const name = kept[below(kept.length)]!;
          if (draw < 7) {
            const before = await on(bucket, prefix, (operation) => rollbackVolume(operation, name));
            kept.push(before.name);
          } else if (draw < 8) {
            const clone = `c${step}`;
            await on(bucket, prefix, (operation) => cloneVolume(operation, name, settings(clone)));
            volumes.push(clone);
            snapshots.set(clone, []);
          } else {
            const isGone = await on(bucket, prefix, (operation) => deleteSnapshot(operation, name)).then(
              () => true,
              () => false,
            );
            if (isGone) kept.splice(kept.indexOf(name), 1);
          }
        }
        for (const volume of volumes) {
          const { findings } = await check(bucket, volume, { data: step % 5 === 4 });
          expect(findings, `seed ${seed}, step ${step}, ${volume}`).toEqual([]);
        }
      }
      for (const volume of volumes.toReversed()) {
        const isGone = await on(bucket, volume, (operation) =>
          deleteVolume(operation, { force: false, progress: () => undefined }),
        ).then(
          () => true,
          () => false,
        );
        if (!isGone) expect(errorsOf(await check(bucket, volume))).toEqual([]);
      }
    },
  );
});
