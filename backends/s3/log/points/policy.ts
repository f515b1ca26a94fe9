import type { Head, Point } from '../head.ts';

/**
 * A volume keeps at most so many points for the time of its retention, evenly: time is divided into so many pieces, and of
 * each piece the last checkpoint stays.
 */
export const MOST_POINTS = 96;

/** Between points. Milliseconds. */
export const spacing = (retention: number): number => Math.ceil(retention / MOST_POINTS);

/**
 * Those that say what the volume was at any moment of the retention: a point counts until the next one, so the last of those
 * that are older stays.
 */
export function unexpired(
  points: readonly Point[],
  retention: number | undefined,
  now: number,
): readonly Point[] {
  if (retention === undefined || retention === 0) return [];
  const last = points.findLastIndex(({ at }) => Date.parse(at) <= now - retention);
  return points.slice(Math.max(last, 0));
}

/** Of a volume, now. */
export const livePoints = ({ points = [], retention }: Head, now: number): readonly Point[] =>
  unexpired(points, retention, now);

/** A checkpoint has been made: it is a point, and in place of the one before it where that is of the same piece of time. */
export function withPoint(points: readonly Point[], point: Point, retention: number): readonly Point[] {
  const piece = ({ at }: Point): number => Math.floor(Date.parse(at) / spacing(retention));
  const last = points.at(-1);
  const others = last !== undefined && piece(last) === piece(point) ? points.slice(0, -1) : points;
  const all = unexpired([...others, point], retention, Date.parse(point.at));
  // Clocks of several machines may disagree: the number is bounded all the same.
  return all.slice(-MOST_POINTS - 2);
}

/** What the volume was at a time: the newest point that is not after it. */
export const pointAt = (points: readonly Point[], time: number): Point | undefined =>
  points
    .filter(({ at }) => Date.parse(at) <= time)
    .reduce<Point | undefined>(
      (best, point) => (best === undefined || Date.parse(point.at) >= Date.parse(best.at) ? point : best),
      undefined,
    );
