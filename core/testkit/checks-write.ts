import { ok } from 'node:assert/strict';
import { IoFlag } from '../api/device.ts';
import { seededRandom } from '../util/random.ts';
import { type Check, NotOffered, PLAYGROUND } from './check.ts';
import { refuses } from './checks-read.ts';
import { expectBytes, pattern, readAt, roundsOf } from './pattern.ts';

const VOLATILE = 'it is volatile, and says so';

/** L1: a disk that can be written. */
export const WRITE_CHECKS: readonly Check[] = [
  {
    level: 'L1',
    title: 'can be written',
    async run(store) {
      await using disk = await store.open();
      ok(disk.volume.caps.write, 'the device has no "write", or says that it is read-only: claim L0');
    },
  },
  {
    level: 'L1',
    title: 'reads what was written, and leaves the neighbours alone',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      const { blockSize, physicalBlockSize } = volume.limits;
      const step = Math.max(blockSize, Math.min(physicalBlockSize, 65536));
      const area = 8 * step;
      await volume.write(0, [pattern(0, area, 1)], 0);
      for (const [offset, length] of [
        [0, blockSize],
        [step, step],
        [3 * step - blockSize, 2 * blockSize],
        [area - blockSize, blockSize],
      ] as const) {
        const before = await readAt(volume, 0, area);
        const data = pattern(offset, length, 2);
        // In segments that have nothing to do with blocks.
        await volume.write(offset, [data.subarray(0, 1), data.subarray(1, 300), data.subarray(300)], 0);
        before.set(data, offset);
        expectBytes(await readAt(volume, 0, area), before, `after a write of ${offset}+${length}`);
      }
      const end = volume.size - blockSize;
      await volume.write(end, [pattern(end, blockSize, 3)], 0);
      expectBytes(await readAt(volume, end, blockSize), pattern(end, blockSize, 3), 'the last block');
    },
  },
  {
    level: 'L1',
    title: 'agrees with a model, whatever is written and read in whatever order',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      const { blockSize } = volume.limits;
      const seed = Math.floor(Math.random() * 2 ** 31);
      const random = seededRandom(seed);
      const below = (n: number) => Math.floor(random() * n);
      const model = await readAt(volume, 0, PLAYGROUND);
      for (let round = 1; round <= 150; round++) {
        const blocks = 1 + below(random() < 0.1 ? Math.min(512, PLAYGROUND / blockSize) : 16);
        const length = Math.min(blocks * blockSize, PLAYGROUND);
        const offset = blockSize * below((PLAYGROUND - length) / blockSize + 1);
        if (random() < 0.6) {
          const data = pattern(offset, length, round);
          await volume.write(offset, [data], 0);
          model.set(data, offset);
        } else if (random() < 0.2) await volume.flush(0);
        else {
          const found = await readAt(volume, offset, length);
          expectBytes(
            found,
            model.subarray(offset, offset + length),
            `seed ${seed}, round ${round}, at ${offset}`,
          );
        }
      }
      expectBytes(await readAt(volume, 0, PLAYGROUND), model, `seed ${seed}, at the end`);
    },
  },
  {
    level: 'L1',
    title: 'flushes, and writes through when it is asked to',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      const { blockSize } = volume.limits;
      await volume.flush(0);
      await volume.write(0, [pattern(0, blockSize, 1)], IoFlag.FUA);
      await volume.write(blockSize, [pattern(blockSize, blockSize, 2)], 0);
      await Promise.all([volume.flush(0), volume.flush(0)]);
      expectBytes(await readAt(volume, 0, blockSize), pattern(0, blockSize, 1), 'a write with FUA');
    },
  },
  {
    level: 'L1',
    title: 'keeps what was flushed when it is opened again',
    async run(store) {
      {
        await using disk = await store.open();
        if (disk.volume.caps.volatile) throw new NotOffered(VOLATILE);
        await disk.volume.write(0, [pattern(0, PLAYGROUND, 7)], 0);
        await disk.volume.flush(0);
      }
      await using again = await store.open();
      const rounds = new Set(roundsOf(await readAt(again.volume, 0, PLAYGROUND), 0));
      ok(
        rounds.size === 1 && rounds.has(7),
        `there is more than was written: versions ${[...rounds].join(', ')}`,
      );
    },
  },
  {
    level: 'L1',
    title: 'changes nothing when it is opened read-only',
    async run(store) {
      let before: Uint8Array;
      {
        await using disk = await store.open();
        if (disk.volume.caps.volatile) throw new NotOffered(VOLATILE);
        await disk.volume.write(0, [pattern(0, 65536, 3)], 0);
        await disk.volume.flush(0);
        before = await readAt(disk.volume, 0, 65536);
      }
      await using disk = await store.open({ readOnly: true });
      expectBytes(await readAt(disk.volume, 0, 65536), before, 'opened read-only');
      await refuses(() => disk.volume.write(0, [new Uint8Array(65536)], 0), 'EROFS', 'a write');
      expectBytes(await readAt(disk.volume, 0, 65536), before, 'after a write that was refused');
      await disk.volume.flush(0);
    },
  },
];
