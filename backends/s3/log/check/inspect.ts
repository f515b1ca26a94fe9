import type { Progress } from '../../../../core/plugin.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { VolumeKey } from '../encryption/volume-key.ts';
import type { Head, Snapshot } from '../head.ts';
import { ObjectTable } from '../log-object.ts';
import { BlockMap } from '../map/block-map.ts';
import type { LogNames } from '../names.ts';
import { uuidBytes } from '../object-header.ts';
import { NOWHERE } from '../recovery.ts';
import type { LogRecord } from '../volume/volume-record.ts';
import { checkChain } from './chain.ts';
import { checkCheckpoint } from './checkpoints.ts';
import { checkHead } from './head-facts.ts';
import { takeInventory } from './inventory.ts';
import { findLeftovers } from './leftovers.ts';
import { checkLogTail } from './log-tail.ts';
import { NeededObjects } from './needed.ts';
import { checkObjects } from './objects.ts';
import { checkClones, checkParent } from './relatives.ts';
import { Report } from './report.ts';

export interface InspectOptions {
  readonly store: ObjectStore;
  readonly names: LogNames;
  /** Of a volume that is encrypted. */
  readonly key: VolumeKey | undefined;
  readonly record: Pick<LogRecord, 'uuid' | 'size' | 'parent'>;
  readonly head: Head;
  /** Read all data as well. */
  readonly data: boolean;
  readonly progress: Progress;
}

export interface Inspection {
  readonly report: Report;
  /** Keys of what nothing needs, and that can be deleted by whoever owns the volume. */
  readonly leftovers: readonly string[];
}

/**
 * Every invariant of what is stored of a volume. Changes nothing. Of a volume that somebody has open it is true as long as
 * `head` is the one that counts: until then nothing that it needs is deleted.
 */
export async function inspect(options: InspectOptions): Promise<Inspection> {
  const { store, names, key, record, head } = options;
  const report = new Report();
  checkHead(names, record, head, report);
  const inventory = await takeInventory(store, names);
  report.count('objects listed', inventory.objects);
  report.count('bytes stored', inventory.bytes);
  const needed = new NeededObjects();
  const ends = await checkNow(options, needed, report);
  for (const snapshot of head.snapshots) await checkSnapshot(options, snapshot, needed, report);
  const links = await checkObjects({ ...options, needed, report });
  checkChain(names, head, links, needed, report);
  await checkClones(store, names, head, inventory.refs, report);
  await checkParent(store, names, record, report);
  const leftovers = await findLeftovers({ store, names, key, head, inventory, needed, ends, report });
  return { report, leftovers };
}

/** The disk as it is now: its checkpoint, and the log after it. */
async function checkNow(
  { store, names, key, record, head }: InspectOptions,
  needed: NeededObjects,
  report: Report,
): Promise<Map<number, number>> {
  const table = new ObjectTable();
  const map = new BlockMap(table);
  let last = NOWHERE;
  if (head.checkpoint !== null) {
    last = { place: head.checkpoint.at, hash: Buffer.from(head.checkpoint.hash, 'hex') };
    const checked = await checkCheckpoint({ store, key }, head.checkpoint, head.size, undefined, report);
    const { objects } = checked?.checkpoint ?? { objects: [] };
    const ids = objects.map((object) => {
      needed.add(object.names, object.place, object.blocks);
      return table.addStored(object.names, object.place, object.blocks, object.stored).id;
    });
    checked?.eachExtent((lba, blocks, object, block) => map.set(lba, blocks, ids[object]!, block));
  }
  const volume = uuidBytes(record.uuid);
  const ends = await checkLogTail({ store, names, key, head, volume, last, table, map, needed, report });
  for (const { id, lba, count, block } of map.runs()) {
    const { names: at, place, blocks } = table.get(id);
    needed.use(needed.add(at, place!, blocks), undefined, lba, count, block);
  }
  return ends;
}

async function checkSnapshot(
  source: Pick<InspectOptions, 'store' | 'key'>,
  { name, size, checkpoint }: Snapshot,
  needed: NeededObjects,
  report: Report,
): Promise<void> {
  report.count('snapshots');
  const checked = await checkCheckpoint(source, checkpoint, size, name, report);
  if (checked === undefined) return;
  const objects = checked.checkpoint.objects.map((object) =>
    needed.add(object.names, object.place, object.blocks),
  );
  checked.eachExtent((lba, blocks, object, block) => needed.use(objects[object]!, name, lba, blocks, block));
}
