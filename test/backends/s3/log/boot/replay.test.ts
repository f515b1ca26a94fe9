import { describe, expect, it } from 'vitest';
import { UNIT } from '../../../../../backends/s3/log/boot/profile.ts';
import { BootReplay, type ReplayOptions } from '../../../../../backends/s3/log/boot/replay.ts';
import { ObjectTable } from '../../../../../backends/s3/log/log-object.ts';
import { LogNames } from '../../../../../backends/s3/log/names.ts';
import { BLOCK, FRAME, FRAME_BLOCKS } from '../../../../../backends/s3/log/object-header.ts';
import { seededRandom } from '../../../../../core/util/random.ts';

const UNIT_FRAMES = UNIT / FRAME;
const UNIT_BLOCKS = UNIT / BLOCK;
const OBJECT = new ObjectTable().add(new LogNames('a'));

interface Fetch {
  readonly first: number;
  readonly count: number;
  readonly settle: (error?: Error) => Promise<void>;
}

/** A disk whose blocks lie in one object as on the disk, and a cache that has room for so many units. */
function world(options: Partial<ReplayOptions> & { readonly units: readonly number[] }, room = 1000) {
  const fetches: Fetch[] = [];
  const errors: unknown[] = [];
  const read = new Set<number>();
  const cached = new Set<number>();
  const replay = new BootReplay({
    blocks: 2 ** 20,
    reader: {
      stored: (lba, count, take) => {
        take(OBJECT, lba / FRAME_BLOCKS, Math.ceil(count / FRAME_BLOCKS));
        return undefined;
      },
    },
    frames: {
      spare: Math.floor((room * UNIT_FRAMES) / 4),
      get free() {
        return Math.max(0, room * UNIT_FRAMES - cached.size);
      },
      fetch: (_object, first, count) => {
        const { promise, resolve, reject } = Promise.withResolvers<Buffer[]>();
        const settle = async (error?: Error) => {
          fetches.splice(fetches.indexOf(fetch), 1);
          if (error === undefined) for (let i = 0; i < count; i++) cached.add(first + i);
          if (error === undefined) resolve([]);
          else reject(error);
          await new Promise(setImmediate);
        };
        const fetch = { first, count, settle };
        fetches.push(fetch);
        return promise;
      },
    },
    maxRequests: 4,
    isBusy: () => false,
    wasRead: (unit) => read.has(unit),
    onFailed: (error) => errors.push(error),
    ...options,
  });
  return {
    replay,
    fetches,
    errors,
    cached,
    read: (unit: number) => {
      read.add(unit);
      replay.read(unit);
    },
    settleAll: async () => {
      while (fetches.length > 0) await fetches[0]!.settle();
    },
  };
}

const upTo = (count: number, step = 1) => Array.from({ length: count }, (_, i) => i * step);

describe('the replay of a boot profile', () => {
  it('fetches in order, a few at once, neighbours with one request', async () => {
    const { fetches, replay, settleAll } = world({
      units: [700, 2, 1, 500, 3, ...upTo(64, 3).map((n) => 900 + n)],
    });
    expect(fetches.map(({ first, count }) => [first / UNIT_FRAMES, count / UNIT_FRAMES])).toEqual([
      [1, 3],
      [500, 1],
      [700, 1],
      [900, 1],
    ]);
    expect(replay.progress).toEqual({ fetched: 0, total: 69 * UNIT, isOver: false });
    await fetches[1]!.settle();
    expect(fetches).toHaveLength(4);
    await settleAll();
    expect(replay.progress).toEqual({ fetched: 69 * UNIT, total: 69 * UNIT, isOver: true });
  });

  it('never asks for more than a MiB at once, nor for what is behind the end of the disk', async () => {
    const { fetches, cached, settleAll } = world({ units: upTo(32), blocks: 20 * UNIT_BLOCKS - 1 });
    expect(fetches.map(({ count }) => count)).toEqual([16 * UNIT_FRAMES, 4 * UNIT_FRAMES]);
    await settleAll();
    expect(Math.max(...cached)).toBe(20 * UNIT_FRAMES - 1);
  });

  it('has one request under way while others wait to send theirs', async () => {
    let isBusy = false;
    const { fetches } = world({ units: upTo(100, 2), isBusy: () => isBusy });
    isBusy = true;
    for (let i = 0; i < 4; i++) await fetches[0]!.settle();
    expect(fetches).toHaveLength(1);
    isBusy = false;
    await fetches[0]!.settle();
    expect(fetches).toHaveLength(4);
  });

  it('leaves a quarter of the memory free, and goes on as the guest reads', async () => {
    const units = upTo(400, 2);
    const { cached, read, settleAll } = world({ units }, 100);
    await settleAll();
    expect(cached.size).toBe(75 * UNIT_FRAMES);
    for (const [i, unit] of units.entries()) {
      read(unit);
      await settleAll();
      // A quarter, that is 25, is ahead of the guest.
      expect(cached.size / UNIT_FRAMES).toBe(Math.min(400, Math.max(75, i + 1 + 25)));
    }
  });

  it('stops by itself ahead of a guest that reads something else', async () => {
    const { cached, read, settleAll, replay } = world({ units: upTo(400, 2) }, 100);
    await settleAll();
    for (let unit = 1; unit < 1000; unit += 2) read(unit);
    await settleAll();
    expect(cached.size).toBe(75 * UNIT_FRAMES);
    expect(replay.progress.isOver).toBe(false);
  });

  it.each([1, 2, 3])(
    'gets through when the guest reads in another order, and not all of it, seed %i',
    async (seed) => {
      const random = seededRandom(seed);
      const units = upTo(400);
      const { cached, read, settleAll } = world({ units }, 100);
      await settleAll();
      // Up to ten places earlier or later, and one in five not at all.
      const order = units
        .filter(() => random() > 0.2)
        .map((unit) => ({ unit, at: unit + random() * 20 }))
        .sort((a, b) => a.at - b.at);
      for (const { unit } of order) {
        read(unit);
        await settleAll();
      }
      expect(cached.size).toBe(400 * UNIT_FRAMES);
    },
  );

  it('catches up with a guest that leaves out half of it', async () => {
    const units = upTo(400);
    const { cached, read, settleAll, replay } = world({ units }, 100);
    await settleAll();
    expect([replay.has(0), replay.has(74), replay.has(75), replay.has(1000)]).toEqual([
      true,
      true,
      false,
      false,
    ]);
    for (const unit of units.slice(200)) {
      read(unit);
      await settleAll();
    }
    expect(cached.size).toBe(400 * UNIT_FRAMES);
  });

  it('waits for parts of the map with as few requests, and goes on when one cannot be read', async () => {
    const loads: { readonly lba: number; readonly settle: (error?: Error) => Promise<void> }[] = [];
    const { replay, errors, cached, fetches, settleAll } = world({
      units: [...upTo(40, 2), 2 ** 30],
      reader: {
        stored: (lba, count, take) => {
          const { promise, resolve, reject } = Promise.withResolvers<void>();
          const settle = async (error?: Error) => {
            loads.shift();
            if (error === undefined) {
              take(OBJECT, lba / FRAME_BLOCKS, count / FRAME_BLOCKS);
              resolve();
            } else reject(error);
            await new Promise(setImmediate);
          };
          loads.push({ lba, settle });
          return promise;
        },
      },
    });
    const error = new Error('gone');
    await loads[0]!.settle(error);
    for (let i = 0; loads.length + fetches.length > 0; i++) {
      expect(loads.length + fetches.length).toBeLessThanOrEqual(4);
      if (i % 3 === 0) await settleAll();
      else await loads[0]?.settle();
    }
    expect(errors).toEqual([error]);
    expect(cached.size).toBe(39 * UNIT_FRAMES);
    expect(replay.progress).toEqual({ fetched: 39 * UNIT, total: 41 * UNIT, isOver: true });
  });

  it('goes on when a part cannot be fetched', async () => {
    const { fetches, errors, replay, settleAll } = world({ units: upTo(20, 2) });
    const error = new Error('gone');
    await fetches[0]!.settle(error);
    await settleAll();
    expect(errors).toEqual([error]);
    expect(replay.progress).toEqual({ fetched: 19 * UNIT, total: 20 * UNIT, isOver: true });
  });

  it('asks for nothing more when it is stopped', async () => {
    const { fetches, replay, settleAll, cached, read } = world({ units: upTo(100, 2) });
    expect(fetches).toHaveLength(4);
    replay.stop();
    await settleAll();
    read(0);
    expect(cached.size).toBe(4 * UNIT_FRAMES);
    expect(replay.progress).toMatchObject({ fetched: 4 * UNIT, isOver: true });
  });

  it('fetches nothing without memory for it', () => {
    expect(world({ units: upTo(100) }, 0).fetches).toEqual([]);
  });
});
