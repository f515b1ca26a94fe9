import { GatewayError, type Moment, type PointInfo } from '../../../../core/plugin.ts';
import type { S3Config } from '../../config.ts';
import type { Operation } from '../../operation.ts';
import type { Head, Point } from '../head.ts';
import type { LogSource } from '../log-source.ts';
import { needsOf } from '../map/needs.ts';
import type { SeenTables } from '../map/stored-map.ts';
import { bytesOf, type Fate, fatesBy } from '../points/held.ts';
import { livePoints, pointAt } from '../points/policy.ts';
import { readVolume } from './with-writer.ts';

/** Oldest first. The volume may be in use. */
export async function listPoints(operation: Operation): Promise<readonly PointInfo[]> {
  const { head } = (await readVolume(operation)).head;
  return livePoints(head, Date.now()).map(({ at, size }) => ({ at, size }));
}

/** The newest that is not after that moment. Throws `volume.no-point`. */
export function findPoint(head: Head, { at }: Moment, { prefix }: S3Config): Point {
  const points = livePoints(head, Date.now());
  const found = pointAt(points, at.getTime());
  if (found !== undefined) return found;
  const [oldest, newest] = [points[0], points.at(-1)];
  throw new GatewayError(
    'volume.no-point',
    `What the volume at "${prefix}" was at ${at.toISOString()} is not known.`,
    oldest === undefined
      ? {
          why: 'It has no points.',
          fix: 'Set "retention" in the configuration of the disk: from then on it has.',
        }
      : {
          why: `Its oldest point is of ${oldest.at}, and its newest of ${newest!.at}.`,
          fix: 'Choose a time from the oldest on.',
        },
  );
}

/** Of the objects that a snapshot leaves behind, what becomes of each: points may need some. Keys and bytes. */
export async function fatesOf(
  source: LogSource,
  points: readonly Point[],
  unneeded: ReadonlyMap<string, number>,
): Promise<Fate[]> {
  const { names } = source;
  const seen: SeenTables = new Map();
  const needs: { readonly point: Point; readonly keys: ReadonlySet<string> }[] = [];
  for (const point of points) {
    const { objects, checkpoints } = await needsOf(source, point.checkpoint, seen);
    needs.push({ point, keys: new Set([...objects, ...checkpoints]) });
  }
  return [...unneeded].map(([key, bytes]) => {
    const needing = needs.filter(({ keys }) => keys.has(key)).map(({ point }) => point);
    return fatesBy(names, needing)({ key, bytes });
  });
}

export interface PointsSummary {
  readonly points: number;
  readonly oldest: string | undefined;
  readonly newest: string | undefined;
  /** Data, as it is stored, that nothing but points needs, those that have expired included until it is freed. */
  readonly bytes: number;
}

/** For people. */
export function summarizePoints(head: Head): PointsSummary {
  const points = livePoints(head, Date.now());
  return {
    points: points.length,
    oldest: points[0]?.at,
    newest: points.at(-1)?.at,
    bytes: bytesOf(head.held ?? []),
  };
}
