import { describe, expect, it } from 'vitest';
import type { Held, Point } from '../../../../../backends/s3/log/head.ts';
import { LogNames, type LogPosition } from '../../../../../backends/s3/log/names.ts';
import {
  bytesOf,
  divide,
  fatesBy,
  hold,
  keysOf,
  withinBounds,
} from '../../../../../backends/s3/log/points/held.ts';
import { randomFrom } from '../../../../sim/world.ts';

const NAMES = new LogNames('disk');

/** The checkpoint `number` of the epoch, with objects up to `at`. */
const point = (epoch: number, number: number, at: LogPosition): Point => ({
  at: '2026-01-01T00:00:00.000Z',
  size: 4096,
  checkpoint: { key: NAMES.checkpoint(epoch, number), at, hash: '' },
});

const POINTS = [
  point(1, 1, { epoch: 1, seq: 10 }),
  point(1, 2, { epoch: 1, seq: 20 }),
  point(2, 1, { epoch: 2, seq: 5 }),
];

const object = (epoch: number, seq: number) => ({ key: NAMES.object({ epoch, seq }), bytes: 100 });
const checkpoint = (epoch: number, number: number) => ({ key: NAMES.checkpoint(epoch, number), bytes: 0 });

describe('the newest point that may need an object', () => {
  it.each([
    ['an object that all know', object(1, 10), { epoch: 2, seq: 1 }],
    ['one that is newer than all points', object(2, 6), undefined],
    ['a checkpoint that is a point', checkpoint(2, 1), { epoch: 2, seq: 1 }],
    ['a checkpoint after all points', checkpoint(2, 2), undefined],
  ])('is right for %s', (_name, unneeded, until) => {
    expect(fatesBy(NAMES, POINTS)(unneeded).until).toEqual(until);
  });

  it('is not a newer one that went back to before the object was there', () => {
    const back = point(3, 1, { epoch: 1, seq: 10 });
    expect(fatesBy(NAMES, [...POINTS, back])(object(1, 15)).until).toEqual({ epoch: 2, seq: 1 });
  });
});

describe('what is held', () => {
  const all = [object(1, 1), object(1, 2), object(1, 3), object(1, 7), checkpoint(1, 1)];
  const held = hold(NAMES, [], all.map(fatesBy(NAMES, POINTS.slice(0, 2))));

  it('is written in runs', () => {
    expect(held).toEqual([
      {
        until: { epoch: 1, seq: 2 },
        objects: 5,
        bytes: 400,
        log: { 1: '1-3,7' },
        checkpoints: { 1: '1' },
      },
    ]);
    expect([...keysOf(NAMES, held)]).toEqual(all.map(({ key }) => key));
  });

  it('is free when no point is left that may need it', () => {
    expect(divide(NAMES, held, POINTS)).toEqual({ held, free: [] });
    expect(divide(NAMES, held, POINTS.slice(1))).toEqual({ held, free: [] });
    expect(divide(NAMES, held, POINTS.slice(2))).toEqual({ held: [], free: held });
    expect(divide(NAMES, held, [])).toEqual({ held: [], free: held });
  });

  it('is what was said of an object last', () => {
    const again = hold(NAMES, held, [object(1, 2), object(1, 7)].map(fatesBy(NAMES, POINTS)));
    expect(again.map(({ until, log, bytes }) => ({ until, log, bytes }))).toEqual([
      { until: { epoch: 1, seq: 2 }, log: { 1: '1,3' }, bytes: 240 },
      { until: { epoch: 2, seq: 1 }, log: { 1: '2,7' }, bytes: 200 },
    ]);
    const gone = all.map((one) => ({ ...one, until: undefined }));
    expect(hold(NAMES, again, gone)).toEqual([]);
  });

  it('has each object once, whatever happens', () => {
    const seed = Date.now() & 0xffff;
    const random = randomFrom(seed);
    const below = (limit: number) => Math.floor(random() * limit);
    let groups: readonly Held[] = [];
    const truth = new Map<string, number>();
    for (let i = 0; i < 200; i++) {
      const fates = Array.from({ length: below(20) }, () => {
        const one = random() < 0.8 ? object(below(3), 1 + below(50)) : checkpoint(below(3), 1 + below(9));
        return { ...one, until: random() < 0.2 ? undefined : { epoch: 1, seq: below(5) } };
      }).filter(({ key }, at, list) => list.findIndex((other) => other.key === key) === at);
      groups = hold(NAMES, groups, fates);
      for (const { key, until } of fates)
        if (until === undefined) truth.delete(key);
        else truth.set(key, until.seq);
      const found = groups.flatMap((group) =>
        [...keysOf(NAMES, [group])].map((key) => [key, group.until.seq]),
      );
      expect(new Map(found as [string, number][]), `seed ${seed}`).toEqual(truth);
      expect(found).toHaveLength(truth.size);
      expect(groups.reduce((sum, { objects }) => sum + objects, 0)).toBe(truth.size);
    }
    expect(bytesOf(groups)).toBeGreaterThan(0);
  });

  it('is bounded: the oldest points go, and the newest never', () => {
    const more = hold(NAMES, held, [fatesBy(NAMES, POINTS)(object(1, 9))]);
    expect(withinBounds(NAMES, more, POINTS, 6)).toEqual(POINTS);
    expect(withinBounds(NAMES, more, POINTS, 5)).toEqual(POINTS.slice(2));
    expect(withinBounds(NAMES, more, POINTS, 0)).toEqual(POINTS.slice(2));
  });
});
