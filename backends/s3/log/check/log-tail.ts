import type { ObjectStore } from '../../store/object-store.ts';
import { readHeader } from '../cache/frame-cache.ts';
import type { VolumeKey } from '../encryption/volume-key.ts';
import { FrameTable } from '../frames/frame-table.ts';
import type { Head } from '../head.ts';
import { learnFrames, type ObjectTable } from '../log-object.ts';
import { applyToMap } from '../map/apply.ts';
import type { BlockMap } from '../map/block-map.ts';
import type { LogNames, LogPosition } from '../names.ts';
import { BLOCK, hashHeader, type LogExtent, type ObjectHeader } from '../object-header.ts';
import type { LogEnd } from '../recovery.ts';
import type { NeededObjects } from './needed.ts';
import type { Blocks, Report } from './report.ts';

/** Headers that are asked for at once. */
const AHEAD = 64;

export interface LogTailOptions {
  readonly store: ObjectStore;
  readonly names: LogNames;
  /** Of a volume that is encrypted. */
  readonly key: VolumeKey | undefined;
  readonly head: Head;
  /** UUID. */
  readonly volume: Buffer;
  /** What the checkpoint that counts ends with. */
  readonly last: LogEnd;
  readonly table: ObjectTable;
  readonly map: BlockMap;
  readonly needed: NeededObjects;
  readonly report: Report;
}

type Found = Awaited<ReturnType<typeof readHeader>>;

/**
 * Replays what came after the checkpoint, as a recovery does, and goes on looking where that would give up. Returns the last
 * sequence that counts of each epoch that the head lists.
 */
export async function checkLogTail(options: LogTailOptions): Promise<Map<number, number>> {
  const { names, head, table, map, needed, report } = options;
  const ends = new Map<number, number>();
  /** Of the object before; undefined after one that could not be read. */
  let last: LogEnd | undefined = options.last;
  let brokenAt: string | undefined;
  const lost: Blocks[] = [];
  for (const { epoch, end } of head.epochs) {
    const from = options.last.place.epoch === epoch ? options.last.place.seq + 1 : 1;
    ends.set(epoch, end ?? from - 1);
    for await (const { place, found } of readEpoch(options, epoch, from, end)) {
      ends.set(epoch, place.seq);
      report.count('objects replayed');
      const object = needed.add(names, place, undefined);
      const wrong = problemOf(options, place, found, last);
      const header = typeof found === 'object' ? found.header : undefined;
      const extents = header === undefined ? [] : within(header.extents, head.size);
      if (header !== undefined && extents.length < header.extents.length)
        report.error(object.key, 'an extent of it lies beyond the end of the disk');
      if (wrong !== undefined) {
        object.isBad = true;
        report.error(object.key, wrong);
        brokenAt ??= object.key;
      }
      if (brokenAt !== undefined)
        for (const { lba, blocks } of extents) lost.push({ view: undefined, lba, count: blocks });
      else if (header !== undefined) {
        const frames = new FrameTable(header.blocks, header.frames, header.cipher);
        const stored = table.addStored(names, place, header.blocks, frames.stored);
        learnFrames(stored, frames, (found as { bytes: Buffer }).bytes.length);
        applyToMap(map, table, stored, extents);
      }
      last = typeof found === 'object' ? { place, hash: hashHeader(found.bytes) } : undefined;
    }
  }
  if (brokenAt !== undefined)
    report.error(
      brokenAt,
      'the log cannot be replayed from here on: what it holds, and what was written after it, is not known',
      lost,
    );
  return ends;
}

/** Up to `end`, or to the first gap or fence where that is not known. */
async function* readEpoch(
  { store, names, key }: Pick<LogTailOptions, 'store' | 'names' | 'key'>,
  epoch: number,
  from: number,
  end: number | undefined,
): AsyncGenerator<{ readonly place: LogPosition; readonly found: Found }> {
  for (let seq = from; end === undefined || seq <= end; seq += AHEAD) {
    const count = end === undefined ? AHEAD : Math.min(AHEAD, end - seq + 1);
    const places = Array.from({ length: count }, (_, i) => ({ epoch, seq: seq + i }));
    const some = await Promise.all(
      places.map((place) => readHeader(store, { name: names.object(place), key })),
    );
    for (const [i, found] of some.entries()) {
      const isEnd = found === undefined || (typeof found === 'object' && found.header.isFence);
      if (end === undefined && isEnd) return;
      yield { place: places[i]!, found };
    }
  }
}

function problemOf(
  { volume }: LogTailOptions,
  place: LogPosition,
  found: Found,
  last: LogEnd | undefined,
): string | undefined {
  if (found === undefined) return 'it is missing';
  if (typeof found === 'string') return `it is damaged: ${found}`;
  const { header } = found;
  return identityProblem(header, volume, place) ?? (last && chainProblem(header, place, last));
}

/** Whether it is another object than its name says. */
export function identityProblem(
  { volume, place: { epoch, seq }, isFence }: ObjectHeader,
  expected: Buffer,
  place: LogPosition,
): string | undefined {
  if (!volume.equals(expected)) return 'it belongs to another volume';
  if (epoch !== place.epoch || seq !== place.seq) return 'it is another object of the log, under this name';
  return isFence ? 'it is a fence, where data should be' : undefined;
}

function chainProblem(
  { previous, parent }: ObjectHeader,
  { seq }: LogPosition,
  last: LogEnd,
): string | undefined {
  const follows = seq > 1 || (parent.epoch === last.place.epoch && parent.seq === last.place.seq);
  return follows && previous.equals(last.hash)
    ? undefined
    : 'it does not continue the object before it: the chain of hashes is broken';
}

/** `size`: of the disk, bytes. */
const within = (extents: readonly LogExtent[], size: number): readonly LogExtent[] =>
  extents.filter(({ lba, blocks }) => (lba + blocks) * BLOCK <= size);
