import type { Signature } from './batch.ts';
import { FrameTable } from './frames/frame-table.ts';
import type { CheckpointRef, Head } from './head.ts';
import { learnFrames, ObjectTable } from './log-object.ts';
import type { LogSource } from './log-source.ts';
import { applyToMap } from './map/apply.ts';
import { BlockMap } from './map/block-map.ts';
import { readCheckpoint } from './map/read-checkpoint.ts';
import type { LogNames, LogPosition } from './names.ts';
import { hashHeader, NO_HASH } from './object-header.ts';
import { corrupt, type FoundObject, readObjects, readOpenEpoch } from './scan.ts';

export interface LogEnd {
  readonly place: LogPosition;
  /** Of the header there. */
  readonly hash: Buffer;
}

/** What the log says. */
export interface Recovered {
  readonly table: ObjectTable;
  readonly map: BlockMap;
  readonly last: LogEnd;
  /** Epochs before ours that are not in the checkpoint, with their ends. */
  readonly epochs: readonly { readonly epoch: number; readonly end: number }[];
  /** Objects that were replayed. */
  readonly replayed: number;
}

/** The beginning of a log. */
export const NOWHERE: LogEnd = { place: { epoch: 0, seq: 0 }, hash: NO_HASH };

/**
 * The map as of the end of the log: the checkpoint, and every object after it. `fence`: with it the ends of epochs that
 * were left open are fixed for good; the volume is ours by then. Throws `volume.corrupt`.
 */
export async function recover(
  source: LogSource,
  head: Pick<Head, 'checkpoint' | 'epochs'>,
  volume: Buffer,
  fence: Signature | undefined,
): Promise<Recovered> {
  const table = new ObjectTable();
  const map = new BlockMap(table);
  let last = NOWHERE;
  if (head.checkpoint !== null) {
    await loadCheckpoint(source, head.checkpoint, table, map);
    last = { place: head.checkpoint.at, hash: Buffer.from(head.checkpoint.hash, 'hex') };
  }
  const epochs: { epoch: number; end: number }[] = [];
  let replayed = 0;
  for (const { epoch, end } of head.epochs) {
    const from = last.place.epoch === epoch ? last.place.seq + 1 : 1;
    const objects =
      end === undefined
        ? await readOpenEpoch(source, epoch, from, fence)
        : await readObjects(source, epoch, from, end);
    for (const [i, object] of objects.entries())
      last = replay(source.names, table, map, volume, last, { epoch, seq: from + i }, object);
    replayed += objects.length;
    epochs.push({ epoch, end: from - 1 + objects.length });
  }
  return { table, map, last, epochs, replayed };
}

export async function loadCheckpoint(
  source: Pick<LogSource, 'store' | 'key'>,
  { key, at }: CheckpointRef,
  table: ObjectTable,
  map: BlockMap,
): Promise<void> {
  const checkpoint = await readCheckpoint(source, key);
  if (checkpoint.at.epoch !== at.epoch || checkpoint.at.seq !== at.seq)
    throw corrupt(key, 'it is the checkpoint of another moment');
  const ids = checkpoint.objects.map(
    ({ names, place, blocks, stored }) => table.addStored(names, place, blocks, stored).id,
  );
  checkpoint.eachExtent((lba, blocks, object, block) => map.set(lba, blocks, ids[object]!, block));
}

/** Applies one object, after making sure that it is the one that follows. */
function replay(
  names: LogNames,
  table: ObjectTable,
  map: BlockMap,
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
