import { ok } from 'node:assert/strict';
import { IoFlag } from '../api/device.ts';
import { BlockError } from '../api/errors.ts';
import { seededRandom } from '../util/random.ts';
import { type Check, NotOffered, PLAYGROUND } from './check.ts';
import { refuses } from './checks-read.ts';
import { killBetweenWriteAndFlush } from './crash.ts';
import type { StoreUnderTest } from './opened-disk.ts';
import { expectBytes, pattern, readAt } from './pattern.ts';

/** How long a request may take to find out that the store is back. Milliseconds. */
const MENDED_MS = 30_000;

/** L2: what is optional, what happens at once, and what goes wrong. */
export const MORE_CHECKS: readonly Check[] = [
  {
    level: 'L2',
    title: 'reads zeros where zeros were written, and only there',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      const { blockSize } = volume.limits;
      for (const flags of [0, IoFlag.MAY_UNMAP, IoFlag.FUA, IoFlag.FUA | IoFlag.MAY_UNMAP]) {
        await volume.write(0, [pattern(0, PLAYGROUND, 1)], 0);
        const model = pattern(0, PLAYGROUND, 1);
        for (const [offset, length] of [
          [blockSize, blockSize],
          [65536 - blockSize, 2 * 65536 + 2 * blockSize],
          [2 ** 20, 2 ** 21],
        ] as const) {
          await volume.writeZeroes(offset, length, flags);
          model.fill(0, offset, offset + length);
        }
        expectBytes(await readAt(volume, 0, PLAYGROUND), model, `zeros with flags ${flags}`);
      }
    },
  },
  {
    level: 'L2',
    title: 'discards, and leaves the rest alone',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      if (!volume.caps.discard) throw new NotOffered('it has no discard');
      const { blockSize } = volume.limits;
      const [from, length] = [65536 + blockSize, 2 ** 20];
      await volume.write(0, [pattern(0, PLAYGROUND, 1)], 0);
      await volume.discard(from, length, 0);
      const found = await readAt(volume, 0, PLAYGROUND);
      const rest = pattern(0, PLAYGROUND, 1);
      found.fill(0, from, from + length);
      rest.fill(0, from, from + length);
      expectBytes(found, rest, 'outside of what was discarded');
      await volume.write(from, [pattern(from, length, 2)], 0);
      expectBytes(
        await readAt(volume, from, length),
        pattern(from, length, 2),
        'written after it was discarded',
      );
      await volume.discard(0, volume.size, 0);
    },
  },
  {
    level: 'L2',
    title: 'knows its holes',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      if (!volume.caps.extents) throw new NotOffered('it has no extents');
      await volume.write(2 ** 20, [pattern(2 ** 20, 2 ** 20, 1)], 0);
      await volume.writeZeroes(0, 2 ** 19, IoFlag.MAY_UNMAP);
      const extents = await volume.extents(0, PLAYGROUND);
      for (const { offset, length, kind } of extents) {
        if (kind === 'data') continue;
        const found = await readAt(volume, offset, length);
        ok(
          found.every((byte) => byte === 0),
          `${offset}+${length} is said to be a ${kind}, and is not zero`,
        );
      }
      const covered = extents.reduce((sum, { length }) => sum + length, 0);
      ok(covered === PLAYGROUND, `the extents of ${PLAYGROUND} bytes cover ${covered}`);
    },
  },
  {
    level: 'L2',
    title: 'fetches ahead, and changes nothing by it',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      if (!volume.caps.prefetch) throw new NotOffered('it has no prefetch');
      const { blockSize } = volume.limits;
      const end = volume.size - blockSize;
      const model = pattern(0, PLAYGROUND, 1);
      await volume.write(0, [model], 0);
      await volume.flush(0);
      // What the store has, and what is only on its way there.
      await volume.write(65536, [pattern(65536, 65536, 2)], 0);
      model.set(pattern(65536, 65536, 2), 65536);
      const last = await readAt(volume, end, blockSize);
      const ranges = [
        [0, blockSize],
        [blockSize, 3 * blockSize],
        [65536 - blockSize, 65536 + 2 * blockSize],
        [0, PLAYGROUND],
        [end, blockSize],
      ] as const;
      for (const [offset, length] of ranges) await volume.prefetch(offset, length);
      expectBytes(await readAt(volume, 0, PLAYGROUND), model, 'after it was fetched ahead');
      expectBytes(await readAt(volume, end, blockSize), last, 'the last block, fetched ahead');
      for (const [offset, length] of [
        [volume.size, blockSize],
        [end, 2 * blockSize],
        [1, blockSize],
      ] as const)
        await refuses(() => volume.prefetch(offset, length), 'EINVAL', `a prefetch of ${offset}+${length}`);
      await Promise.all([
        ...ranges.slice(0, 4).map(([offset, length]) => volume.prefetch(offset, length)),
        ...Array.from({ length: 16 }, (_, i) => {
          const data = pattern(i * 65536, 65536, 3);
          model.set(data, i * 65536);
          return volume.write(i * 65536, [data], 0);
        }),
      ]);
      expectBytes(await readAt(volume, 0, PLAYGROUND), model, 'written while it was fetched ahead');
    },
  },
  {
    level: 'L2',
    title: 'agrees with a model when many requests are under way',
    async run(store) {
      await using disk = await store.open();
      const { volume } = disk;
      const { blockSize } = volume.limits;
      const seed = Math.floor(Math.random() * 2 ** 31);
      const random = seededRandom(seed);
      const below = (n: number) => Math.floor(random() * n);
      const model = await readAt(volume, 0, PLAYGROUND);
      const lanes = 32;
      for (let round = 1; round <= 60; round++) {
        // Narrow lanes too: requests that share a page, or another unit of the store, and not a byte.
        const lane = blockSize * Math.min(PLAYGROUND / lanes / blockSize, [3, 33, 2048][round % 3]!);
        const base = blockSize * below((PLAYGROUND - lane * lanes) / blockSize + 1);
        await Promise.all(
          Array.from({ length: lanes }, async (_, index) => {
            const length = Math.min(lane, blockSize * (1 + below(8)));
            const offset = base + index * lane + blockSize * below((lane - length) / blockSize + 1);
            const part = model.subarray(offset, offset + length);
            const kind = random();
            if (kind < 0.5) {
              const data = pattern(offset, length, round);
              await volume.write(offset, [data], kind < 0.1 ? IoFlag.FUA : 0);
              part.set(data);
            } else if (kind < 0.6) {
              await volume.writeZeroes(offset, length, IoFlag.MAY_UNMAP);
              part.fill(0);
            } else if (kind < 0.65) await volume.flush(0);
            else
              expectBytes(
                await readAt(volume, offset, length),
                part,
                `seed ${seed}, round ${round}, at ${offset}`,
              );
          }),
        );
      }
      expectBytes(await readAt(volume, 0, PLAYGROUND), model, `seed ${seed}, at the end`);
    },
  },
  {
    level: 'L2',
    title: 'keeps what was flushed when its process is killed',
    async run(store) {
      {
        await using disk = await store.open();
        if (disk.volume.caps.volatile) throw new NotOffered('it is volatile, and says so');
      }
      for (let kill = 0; kill < 3; kill++) await killBetweenWriteAndFlush(store);
    },
  },
  {
    level: 'L2',
    title: 'tells no success that is not true while its store fails',
    run: failing,
  },
];

/** Requests during a failure may fail, or wait until it is over; what succeeded is there afterwards. */
async function failing(under: StoreUnderTest): Promise<void> {
  const { store } = under;
  if (store.break === undefined || store.mend === undefined)
    throw new NotOffered('the test does not make its store fail');
  await using disk = await under.open();
  const { volume } = disk;
  const block = Math.max(volume.limits.blockSize, 4096);
  const count = 16;
  await volume.write(0, [pattern(0, count * block, 1)], 0);
  await volume.flush(0);
  await store.break();
  const writes = Array.from({ length: count }, (_, i) =>
    outcome(async () => volume.write(i * block, [pattern(i * block, block, 2)], 0)),
  );
  const reads = Array.from({ length: count }, (_, i) => outcome(() => readAt(volume, i * block, block)));
  await Promise.race([
    Promise.all([...writes, ...reads]),
    new Promise((resolve) => setTimeout(resolve, 1000)),
  ]);
  await store.mend();
  const written = await within(MENDED_MS, Promise.all(writes));
  for (const result of [...written, ...(await within(MENDED_MS, Promise.all(reads)))])
    if (result instanceof Error && !BlockError.is(result)) throw result;
  const after = await within(MENDED_MS, readAt(volume, 0, count * block));
  for (const [i, result] of written.entries())
    if (!(result instanceof Error))
      expectBytes(
        after.subarray(i * block, (i + 1) * block),
        pattern(i * block, block, 2),
        `block ${i}, whose write succeeded while the store failed`,
      );
  await within(MENDED_MS, Promise.resolve(volume.write(0, [pattern(0, count * block, 3)], 0)));
  await within(MENDED_MS, Promise.resolve(volume.flush(0)));
}

async function outcome<T>(call: () => Promise<T>): Promise<T | Error> {
  try {
    return await call();
  } catch (error) {
    return error as Error;
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`a request is not over ${ms / 1000} s after the store was mended`)),
      ms,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
