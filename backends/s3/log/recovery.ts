import type { Signature } from './batch.ts';
import { corrupt } from './corrupt.ts';
import { FrameTable } from './frames/frame-table.ts';
import type { Head } from './head.ts';
import { learnFrames } from './log-object.ts';
import type { LogSource } from './log-source.ts';
import { applyToMap } from './map/apply.ts';
import { StoredMap } from './map/stored-map.ts';
import type { LogNames, LogPosition } from './names.ts';
import { hashHeader, NO_HASH } from './object-header.ts';
import { type FoundObject, readObjects, readOpenEpoch } from './scan.ts';

export interface LogEnd {
  readonly place: LogPosition;
  /** Of the header there. */
  readonly hash: Buffer;
}

/** What the log says. */
export interface Recovered {
  readonly stored: StoredMap;
  readonly last: LogEnd;
  /** Epochs before ours that are not in the checkpoint, with their ends. */
  readonly epochs: readonly { readonly epoch: number; readonly end: number }[];
  /** Objects that were replayed. */
  readonly replayed: number;
}

/** The beginning of a log. */
export const NOWHERE: LogEnd = { place: { epoch: 0, seq: 0 }, hash: NO_HASH };

/**
 * The map as of the end of the log: the checkpoint, of which no more is read than where things are, and every object after
 * it. `fence`: with it the ends of epochs that were left open are fixed for good; the volume is ours by then. `maxLoaded`:
 * pages of the map in memory. Throws `volume.corrupt`.
 */
export async function recover(
  source: LogSource,
  head: Pick<Head, 'checkpoint' | 'epochs'>,
  volume: Buffer,
  fence: Signature | undefined,
  maxLoaded?: number,
): Promise<Recovered> {
  const { checkpoint } = head;
  const stored = await StoredMap.open(source, checkpoint, maxLoaded);
  let last =
    checkpoint === null ? NOWHERE : { place: checkpoint.at, hash: Buffer.from(checkpoint.hash, 'hex') };
  const epochs: { epoch: number; end: number }[] = [];
  let replayed = 0;
  for (const { epoch, end } of head.epochs) {
    const from = last.place.epoch === epoch ? last.place.seq + 1 : 1;
    const objects =
      end === undefined
        ? await readOpenEpoch(source, epoch, from, fence)
        : await readObjects(source, epoch, from, end);
    for (const [i, object] of objects.entries())
      last = replay(source.names, stored, volume, last, { epoch, seq: from + i }, object);
    replayed += objects.length;
    epochs.push({ epoch, end: from - 1 + objects.length });
  }
  return { stored, last, epochs, replayed };
}

/** Applies one object, after making sure that it is the one that follows. */
function replay(
  names: LogNames,
  { table, map }: StoredMap,
  volume: Buffer,
  last: LogEnd,
  place: LogPosition,
  { header, bytes }: FoundObject,
): LogEnd {
  const key = names.object(place);
  if (!header.volume.equals(volume)) throw corrupt(key, 'it belongs to another volume');
  if (header.place.epoch !== place.epoch || header.place.seq !== place.seq)
    throw corrupt(key, 'it is another object of the log, under this name');
  const { parent } = header;
  const follows = place.seq > 1 || (parent.epoch === last.place.epoch && parent.seq === last.place.seq);
  if (!follows || !header.previous.equals(last.hash))
    throw corrupt(key, 'it does not continue the object before it: the chain of hashes is broken');
  const frames = new FrameTable(header.blocks, header.frames, header.cipher);
  const object = table.addStored(names, place, header.blocks, frames.stored);
  learnFrames(object, frames, bytes.length);
  applyToMap(map, table, object, header.extents);
  return { place, hash: hashHeader(bytes) };
}
