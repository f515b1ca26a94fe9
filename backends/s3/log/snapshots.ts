import type { ObjectStore } from '../store/object-store.ts';
import { decodeCheckpoint } from './checkpoint.ts';
import type { Snapshot } from './head.ts';
import { LogNames } from './names.ts';
import { corrupt } from './scan.ts';

const MAX_CHECKPOINT = 2 ** 31;

/** Keys of every object that a snapshot needs. */
export async function pinnedBySnapshots(
  store: ObjectStore,
  snapshots: readonly Snapshot[],
): Promise<Set<string>> {
  const pinned = new Set<string>();
  for (const key of new Set(snapshots.map(({ checkpoint }) => checkpoint.key))) {
    const object = await store.get(key, MAX_CHECKPOINT);
    if (object === undefined) throw corrupt(key, 'it is missing, and a snapshot needs it');
    const checkpoint = decodeCheckpoint(object.body);
    if (typeof checkpoint === 'string') throw corrupt(key, checkpoint);
    for (const { root, ...place } of checkpoint.objects)
      pinned.add(new LogNames(root.slice(0, -1)).object(place));
  }
  return pinned;
}
