import { describe, expect, it } from 'vitest';
import type { Point } from '../../../../../backends/s3/log/head.ts';
import {
  MOST_POINTS,
  pointAt,
  spacing,
  unexpired,
  withPoint,
} from '../../../../../backends/s3/log/points/policy.ts';
import { randomFrom } from '../../../../sim/world.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const point = (time: number): Point => ({
  at: new Date(time).toISOString(),
  size: 4096,
  checkpoint: { key: `${time}`, at: { epoch: 1, seq: 1 }, hash: '' },
});

const timesOf = (points: readonly Point[]): number[] => points.map(({ at }) => Date.parse(at));

const made = (times: readonly number[], retention = DAY): readonly Point[] =>
  times.reduce<readonly Point[]>((points, time) => withPoint(points, point(time), retention), []);

describe('which checkpoints are points', () => {
  it('is the last of each piece of time, and always the newest', () => {
    const piece = spacing(DAY);
    expect(piece).toBe(15 * 60_000);
    expect(timesOf(made([0, 1, piece - 1, piece, piece + 7, 5 * piece]))).toEqual([
      piece - 1,
      piece + 7,
      5 * piece,
    ]);
  });

  it('says what the volume was at any moment of the retention, also after a long pause', () => {
    const points = made([0, HOUR, 10 * DAY]);
    expect(timesOf(points)).toEqual([HOUR, 10 * DAY]);
    expect(pointAt(points, 10 * DAY - 1)).toEqual(point(HOUR));
    expect(pointAt(points, HOUR - 1)).toBeUndefined();
    expect(pointAt(points, 11 * DAY)).toEqual(point(10 * DAY));
  });

  it('is bounded, and for each moment of the retention what the volume was at most one piece before', () => {
    const seed = Date.now() & 0xffff;
    const random = randomFrom(seed);
    let [now, points]: [number, readonly Point[]] = [0, []];
    const all: number[] = [];
    for (let i = 0; i < 3000; i++) {
      now += Math.ceil(random() ** 3 * (random() < 0.01 ? 2 * DAY : HOUR));
      all.push(now);
      points = withPoint(points, point(now), DAY);
      expect(points.length, `seed ${seed}`).toBeLessThanOrEqual(MOST_POINTS + 2);
      const asked = now - random() * DAY;
      const found = pointAt(points, asked);
      // The volume was like that until the next checkpoint.
      const until = all.find((time) => found === undefined || time > Date.parse(found.at));
      if (until !== undefined) expect(until, `seed ${seed}: ${asked}`).toBeGreaterThan(asked - spacing(DAY));
    }
  });

  it('stays bounded where the clock goes back and forth', () => {
    const times = Array.from({ length: 1000 }, (_, i) => 10 * DAY + (i % 2) * HOUR);
    expect(made(times).length).toBeLessThanOrEqual(MOST_POINTS + 2);
  });
});

describe('expired points', () => {
  it('are those whose successor is older than the retention', () => {
    const points = [0, HOUR, 2 * HOUR].map(point);
    const left = (retention: number | undefined, now: number) => timesOf(unexpired(points, retention, now));
    expect(left(HOUR, 2 * HOUR - 1)).toEqual([0, HOUR, 2 * HOUR]);
    expect(left(HOUR, 2 * HOUR)).toEqual([HOUR, 2 * HOUR]);
    expect(left(HOUR, 9 * HOUR)).toEqual([2 * HOUR]);
    expect(left(0, 2 * HOUR)).toEqual([]);
    expect(left(undefined, 2 * HOUR)).toEqual([]);
    expect(unexpired([], HOUR, 0)).toEqual([]);
  });
});
