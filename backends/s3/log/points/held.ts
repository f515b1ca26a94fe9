import type { Held, Point } from '../head.ts';
import { isUpTo, type LogNames, type LogPosition } from '../names.ts';

/** So many objects points may hold at most: they are named in the head. The oldest points go before there are more. */
export const MOST_HELD = 50_000;

/** An object that nothing needs any more, but perhaps a point. */
export interface Unneeded {
  readonly key: string;
  /** Data, as it is stored. */
  readonly bytes: number;
}

/** As long as there is a point up to this one, it stays; undefined: it can go. */
export interface Fate extends Unneeded {
  readonly until: LogPosition | undefined;
}

interface Place {
  readonly kind: 'log' | 'checkpoints';
  readonly place: LogPosition;
}

/** Which point is how new: by the names of their checkpoints, which are never used again. */
const orderOf = (names: LogNames, { checkpoint }: Point): LogPosition => names.checkpointOf(checkpoint.key)!;

/**
 * Finds for an object that has just become needless the newest of the points that may need it. One can need only what was there when it was
 * made: objects of the log up to its position, and checkpoints up to its own.
 */
export function fatesBy(names: LogNames, points: readonly Point[]): (unneeded: Unneeded) => Fate {
  const newestFirst = points.map((point) => ({ point, order: orderOf(names, point) })).reverse();
  return (unneeded) => {
    const found = placeOf(names, unneeded.key);
    const needing = newestFirst.find(
      ({ point, order }) =>
        found !== undefined && isUpTo(found.place, found.kind === 'log' ? point.checkpoint.at : order),
    );
    return { ...unneeded, until: needing?.order };
  };
}

/** What is held once that is known of these objects. Whatever was said of one of them before does not count any more. */
export function hold(names: LogNames, held: readonly Held[], fates: readonly Fate[]): readonly Held[] {
  if (fates.length === 0) return held;
  const gone = { log: new Map<number, Set<number>>(), checkpoints: new Map<number, Set<number>>() };
  const added = new Map<string, { readonly until: LogPosition; readonly fates: Fate[] }>();
  for (const fate of fates) {
    const found = placeOf(names, fate.key);
    if (found === undefined) continue;
    const { kind, place } = found;
    const numbers = gone[kind].get(place.epoch) ?? new Set();
    gone[kind].set(place.epoch, numbers.add(place.seq));
    if (fate.until === undefined) continue;
    const name = `${fate.until.epoch} ${fate.until.seq}`;
    const group = added.get(name) ?? { until: fate.until, fates: [] };
    group.fates.push(fate);
    added.set(name, group);
  }
  const groups = held.map((group) => without(group, gone)).filter(({ objects }) => objects > 0);
  for (const { until, fates: more } of added.values()) {
    const at = groups.findIndex(
      (group) => group.until.epoch === until.epoch && group.until.seq === until.seq,
    );
    const group = groups[at] ?? { until, objects: 0, bytes: 0, log: {}, checkpoints: {} };
    const grown = withMore(names, group, more);
    if (at < 0) groups.push(grown);
    else groups[at] = grown;
  }
  return groups;
}

/** Groups that a point may need, and those that none does. */
export function divide(
  names: LogNames,
  held: readonly Held[],
  points: readonly Point[],
): { readonly held: readonly Held[]; readonly free: readonly Held[] } {
  const orders = points.map((point) => orderOf(names, point));
  const isNeeded = ({ until }: Held): boolean => orders.some((order) => isUpTo(order, until));
  return { held: held.filter(isNeeded), free: held.filter((group) => !isNeeded(group)) };
}

/** Without the oldest points, as long as they hold too much. The newest always stays. */
export function withinBounds(
  names: LogNames,
  held: readonly Held[],
  points: readonly Point[],
  most = MOST_HELD,
): readonly Point[] {
  let kept = points;
  const count = (): number => divide(names, held, kept).held.reduce((sum, { objects }) => sum + objects, 0);
  while (kept.length > 1 && count() > most) kept = kept.slice(1);
  return kept;
}

/** Their keys. */
export function* keysOf(names: LogNames, held: Iterable<Held>): Generator<string> {
  for (const { log, checkpoints } of held) {
    for (const place of placesIn(log)) yield names.object(place);
    for (const { epoch, seq } of placesIn(checkpoints)) yield names.checkpoint(epoch, seq);
  }
}

export const bytesOf = (held: Iterable<Held>): number => {
  let sum = 0;
  for (const { bytes } of held) sum += bytes;
  return sum;
};

function placeOf(names: LogNames, key: string): Place | undefined {
  const log = names.positionOf(key);
  if (log !== undefined) return { kind: 'log', place: log };
  const checkpoint = names.checkpointOf(key);
  return checkpoint && { kind: 'checkpoints', place: checkpoint };
}

function without(
  group: Held,
  gone: Readonly<Record<Place['kind'], ReadonlyMap<number, ReadonlySet<number>>>>,
): Held {
  let removed = 0;
  const left = (kind: Place['kind']): Record<string, string> => {
    const rest = { ...group[kind] };
    for (const [epoch, numbers] of gone[kind]) {
      const runs = rest[epoch];
      if (runs === undefined) continue;
      const before = [...numbersIn(runs)];
      const after = before.filter((number) => !numbers.has(number));
      removed += before.length - after.length;
      if (after.length === 0) delete rest[epoch];
      else if (after.length < before.length) rest[epoch] = runsOf(after);
    }
    return rest;
  };
  const [log, checkpoints] = [left('log'), left('checkpoints')];
  if (removed === 0) return group;
  const objects = group.objects - removed;
  return { ...group, objects, bytes: Math.round((group.bytes * objects) / group.objects), log, checkpoints };
}

function withMore(names: LogNames, group: Held, fates: readonly Fate[]): Held {
  const places = { log: [...placesIn(group.log)], checkpoints: [...placesIn(group.checkpoints)] };
  for (const { key } of fates) {
    const { kind, place } = placeOf(names, key)!;
    places[kind].push(place);
  }
  return {
    until: group.until,
    objects: places.log.length + places.checkpoints.length,
    bytes: fates.reduce((sum, { bytes }) => sum + bytes, group.bytes),
    log: byEpoch(places.log),
    checkpoints: byEpoch(places.checkpoints),
  };
}

function byEpoch(places: readonly LogPosition[]): Record<string, string> {
  const numbers = Map.groupBy(places, ({ epoch }) => epoch);
  return Object.fromEntries(
    [...numbers].map(([epoch, some]) => [`${epoch}`, runsOf(some.map(({ seq }) => seq))]),
  );
}

function* placesIn(runs: Readonly<Record<string, string>>): Generator<LogPosition> {
  for (const [epoch, text] of Object.entries(runs))
    for (const seq of numbersIn(text)) yield { epoch: Number(epoch), seq };
}

/** `[1, 2, 3, 7]` → `"1-3,7"` */
function runsOf(numbers: readonly number[]): string {
  const runs: { readonly from: number; to: number }[] = [];
  for (const number of numbers.toSorted((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last?.to === number - 1) last.to = number;
    else runs.push({ from: number, to: number });
  }
  return runs.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}

function* numbersIn(runs: string): Generator<number> {
  for (const run of runs.split(',')) {
    const [from, to = from] = run.split('-').map(Number) as [number, number?];
    for (let number = from; number <= to; number++) yield number;
  }
}
