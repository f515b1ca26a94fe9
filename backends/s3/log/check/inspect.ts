import type { Progress } from '../../../../core/plugin.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { VolumeKey } from '../encryption/volume-key.ts';
import type { Head, Snapshot } from '../head.ts';
import { StoredMap } from '../map/stored-map.ts';
import type { LogNames } from '../names.ts';
import { uuidBytes } from '../object-header.ts';
import { keysOf } from '../points/held.ts';
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
import { checkBaseImage, checkClones, checkParent } from './relatives.ts';
import { Report } from './report.ts';

export interface InspectOptions {
  readonly store: ObjectStore;
  readonly names: LogNames;
  /** Of a volume that is encrypted. */
  readonly key: VolumeKey | undefined;
  readonly record: Pick<LogRecord, 'uuid' | 'size' | 'parent' | 'image'>;
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
  for (const snapshot of head.snapshots) await checkSnapshot(options, snapshot, 'snapshots', needed, report);
  for (const { at, ...point } of head.points ?? [])
    await checkSnapshot(options, { name: `point ${at}`, ...point }, 'points', needed, report);
  for (const held of keysOf(names, head.held ?? [])) needed.spare.add(held);
  const links = await checkObjects({ ...options, needed, report });
  checkChain(names, head, links, needed, report);
  await checkClones(store, names, head, inventory.refs, report);
  await checkParent(store, names, record, head, report);
  await checkBaseImage(store, record, head, needed, report);
  const leftovers = await findLeftovers({ store, names, key, head, inventory, needed, ends, report });
  return { report, leftovers };
}

/** The disk as it is now: its checkpoint, and the log after it. */
async function checkNow(
  { store, names, key, record, head }: InspectOptions,
  needed: NeededObjects,
  report: Report,
): Promise<Map<number, number>> {
  const source = { store, names, key };
  const { checkpoint } = head;
  let last = NOWHERE;
  let stored = await StoredMap.open(source, null);
  if (checkpoint !== null) {
    last = { place: checkpoint.at, hash: Buffer.from(checkpoint.hash, 'hex') };
    const checked = await checkCheckpoint(source, checkpoint, head.size, undefined, report);
    if (checked !== undefined) stored = checked;
    needed.addCheckpoint(checkpoint.key, checked);
  }
  const { table, map } = stored;
  needed.addObjects(table);
  const volume = uuidBytes(record.uuid);
  const ends = await checkLogTail({ store, names, key, head, volume, last, table, map, needed, report });
  await needed.useAll(stored, undefined);
  return ends;
}

async function checkSnapshot(
  { store, names, key }: Pick<InspectOptions, 'store' | 'names' | 'key'>,
  { name, size, checkpoint }: Pick<Snapshot, 'name' | 'size' | 'checkpoint'>,
  kind: 'snapshots' | 'points',
  needed: NeededObjects,
  report: Report,
): Promise<void> {
  report.count(kind);
  const checked = await checkCheckpoint({ store, names, key }, checkpoint, size, name, report);
  needed.addCheckpoint(checkpoint.key, checked);
  if (checked === undefined) return;
  needed.addObjects(checked.table);
  await needed.useAll(checked, name);
}
