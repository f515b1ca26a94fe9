import type { ObjectStore } from '../store/object-store.ts';
import type { Snapshot } from './head.ts';
import { readCheckpoint } from './read-checkpoint.ts';

/** Keys of every object that a snapshot needs. */
export async function pinnedBySnapshots(
  store: ObjectStore,
  snapshots: readonly Snapshot[],
): Promise<Set<string>> {
  const pinned = new Set<string>();
  for (const key of new Set(snapshots.map(({ checkpoint }) => checkpoint.key)))
    for (const { names, place } of (await readCheckpoint(store, key)).objects)
      pinned.add(names.object(place));
  return pinned;
}
