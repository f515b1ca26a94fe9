import type { Snapshot } from '../head.ts';
import type { LogSource } from '../log-source.ts';
import { readCheckpoint } from '../map/read-checkpoint.ts';

/** Keys of every object that a snapshot needs. */
export async function pinnedBySnapshots(
  source: Pick<LogSource, 'store' | 'key'>,
  snapshots: readonly Snapshot[],
): Promise<Set<string>> {
  const pinned = new Set<string>();
  for (const key of new Set(snapshots.map(({ checkpoint }) => checkpoint.key)))
    for (const { names, place } of (await readCheckpoint(source, key)).objects)
      pinned.add(names.object(place));
  return pinned;
}
