import { inParallel } from '../../../../core/plugin.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { MAX_IN_FLIGHT } from '../appender.ts';
import { readHeader } from '../cache/frame-cache.ts';
import type { VolumeKey } from '../encryption/volume-key.ts';
import type { Head } from '../head.ts';
import { CHECKPOINT_START, checkpointPosition } from '../map/root.ts';
import type { LogNames, LogPosition } from '../names.ts';
import { AT_ONCE } from './at-once.ts';
import type { Inventory } from './inventory.ts';
import type { NeededObjects } from './needed.ts';
import type { Report } from './report.ts';

export interface LeftoverOptions {
  readonly store: ObjectStore;
  readonly names: LogNames;
  /** Of a volume that is encrypted. */
  readonly key: VolumeKey | undefined;
  readonly head: Head;
  readonly inventory: Inventory;
  readonly needed: NeededObjects;
  /** Of each epoch that the head lists: the last sequence that counts. */
  readonly ends: ReadonlyMap<number, number>;
  readonly report: Report;
}

/**
 * Objects of the volume that nothing needs. Returns the keys of those that can be deleted: that nothing will ever need them
 * follows from `head` alone. Fences are never among them, nor what lies where no writer could have put it.
 */
export async function findLeftovers(options: LeftoverOptions): Promise<string[]> {
  const { names, head, inventory, needed, report } = options;
  const condemned = new Set(head.condemned);
  const used = needed.checkpoints;
  for (const key of condemned)
    if (needed.get(key) !== undefined || used.has(key))
      report.error(names.head, `it condemns ${key}, which is needed`);
  const isOwned = head.state === 'owned';
  const unfinished: string[] = [];
  const checkpoints: string[] = [];
  for (const key of inventory.checkpoints) {
    if (used.has(key)) continue;
    if (condemned.has(key)) unfinished.push(key);
    else if (needed.spare.has(key)) continue;
    // Its writer may be about to make it count.
    else if (!(isOwned && key.startsWith(names.checkpoint(head.epoch, 0).slice(0, -16))))
      checkpoints.push(key);
  }
  const unknown: [string, LogPosition][] = [];
  for (const [key, place] of inventory.log) {
    if (needed.get(key) !== undefined) continue;
    if (condemned.has(key)) unfinished.push(key);
    else if (!needed.spare.has(key)) unknown.push([key, place]);
  }
  const objects = await classify(options, unknown);
  const maps = await unusedMaps(options, checkpoints);
  // Whoever has it open is deleting these.
  if (!isOwned) report.warning(unfinished.sort(), 'condemned, and not deleted yet', 'possible');
  report.warning(maps.sort(), 'a checkpoint that nothing refers to', 'possible');
  report.warning(objects.sort(), 'an object of the log that nothing refers to', 'possible');
  report.warning(inventory.foreign, 'no part of a volume, and under its prefix');
  return [...unfinished, ...maps, ...objects];
}

/** Those checkpoints that know nothing that the log does not hold. */
async function unusedMaps(
  { store, head, ends, report }: LeftoverOptions,
  checkpoints: readonly string[],
): Promise<string[]> {
  const unused: string[] = [];
  await inParallel(checkpoints, AT_ONCE, async (key) => {
    const start = Buffer.alloc(CHECKPOINT_START);
    if ((await store.read(key, 0, [start])) === undefined) return;
    const at = checkpointPosition(start);
    if (at !== undefined && (at.epoch > head.epoch || at.seq > (ends.get(at.epoch) ?? at.seq)))
      report.error(key, 'a checkpoint of what the log does not hold any more: the head is an older one');
    else unused.push(key);
  });
  return unused;
}

async function classify(
  { store, key: volumeKey, head, ends, report }: LeftoverOptions,
  unknown: readonly (readonly [string, LogPosition])[],
): Promise<string[]> {
  const garbage: string[] = [];
  const unreadable: string[] = [];
  await inParallel(unknown, AT_ONCE, async ([key, { epoch, seq }]) => {
    const found = await readHeader(store, { name: key, key: volumeKey });
    if (found === undefined) return;
    if (typeof found === 'object' && found.header.isFence) {
      report.count('fences');
      return;
    }
    const end = ends.get(epoch);
    if (epoch > head.epoch)
      report.error(
        key,
        'it is of an epoch that the head does not know: the head is an older one, or another',
      );
    else if (end !== undefined && seq > end + MAX_IN_FLIGHT)
      report.error(key, `the log goes on here, and ends at ${end}: objects between are missing`);
    // It may be the next, as soon as those before it are stored.
    else if (end !== undefined && seq > end && head.state === 'owned' && epoch === head.epoch)
      report.count('objects on their way');
    else if (typeof found === 'string') unreadable.push(key);
    else garbage.push(key);
  });
  report.warning(unreadable.sort(), 'nothing refers to it, and it cannot be read: it may be a fence');
  return garbage;
}
