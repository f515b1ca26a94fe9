import type { Head, Point } from '../../backends/s3/log/head.ts';
import { livePoints } from '../../backends/s3/log/points/policy.ts';
import { type Content, NAMES, type SimGateway } from './gateway.ts';

/** Everything that a point may hold; undefined: nobody who lives on knows. */
export function possibleAt(gateways: readonly SimGateway[], point: Point): Content[] | undefined {
  const { epoch, seq: number } = NAMES.checkpointOf(point.checkpoint.key)!;
  const maker = gateways.find((gateway) => gateway.epoch === epoch && gateway.cuts[number] !== undefined);
  if (maker === undefined) return undefined;
  const { flushed, changes } = maker.cuts[number]!;
  if (maker.base !== undefined) return prefixes(maker.base, maker.changes.slice(0, changes)).slice(flushed);
  // It had not read the disk yet, so its guest changed nothing: it found what its predecessor made, and who comes next finds
  // the same, unless the volume went back to a point in between.
  const opened = gateways.filter((other) => other.base !== undefined);
  const before = opened.filter((other) => other.epoch! < epoch).sort((a, b) => b.epoch! - a.epoch!)[0];
  const next = opened.filter((other) => other.epoch! > epoch).sort((a, b) => a.epoch! - b.epoch!)[0];
  const found = before === undefined ? [] : prefixes(before.base!, before.changes).slice(before.flushed);
  const possible = next === undefined ? found : [...found, next.base!];
  return possible.length === 0 ? undefined : possible;
}

/** What the disk was before each of the changes, and after the last. */
export function prefixes(base: Content, changes: SimGateway['changes']): Content[] {
  const states = [base];
  for (const { lba, blocks, version } of changes)
    states.push(
      states
        .at(-1)!
        .slice()
        .fill(version, lba, lba + blocks),
    );
  return states;
}

/** Of a volume that has made a checkpoint: the newest point is that, and none is there that has expired. */
export function pointsProblem(head: Head, retention: number, madeAt: number): string | undefined {
  const points = head.points ?? [];
  if (retention === 0) return points.length > 0 ? 'there are points that nobody wants' : undefined;
  if (points.at(-1)?.checkpoint.key !== head.checkpoint?.key) return 'the last checkpoint is no point';
  return livePoints(head, madeAt).length < points.length ? 'there are points that have expired' : undefined;
}
