import { listPages } from '../../store/list-pages.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { LogNames, LogPosition } from '../names.ts';

/** What lies under the prefix of a volume. */
export interface Inventory {
  /** Objects of the log by key, with their places. */
  readonly log: ReadonlyMap<string, LogPosition>;
  readonly checkpoints: ReadonlySet<string>;
  /** Clones' claims: keys. */
  readonly refs: readonly string[];
  /** What is no part of a volume: keys. */
  readonly foreign: readonly string[];
  readonly objects: number;
  readonly bytes: number;
}

const CHECKPOINT = /^[0-9a-f]{16}-[0-9a-f]{16}$/;

export async function takeInventory(store: ObjectStore, names: LogNames): Promise<Inventory> {
  const log = new Map<string, LogPosition>();
  const checkpoints = new Set<string>();
  const refs: string[] = [];
  const foreign: string[] = [];
  const single = new Set([names.head, names.volume, names.keys, names.bootProfile]);
  let [objects, bytes] = [0, 0];
  for await (const page of listPages(store, names.root)) {
    for (const { key, size } of page.objects) {
      objects++;
      bytes += size;
      if (single.has(key)) continue;
      const place = names.positionOf(key);
      if (place !== undefined) log.set(key, place);
      else if (key.startsWith(names.checkpoints) && CHECKPOINT.test(key.slice(names.checkpoints.length)))
        checkpoints.add(key);
      else if (key.startsWith(names.refs)) refs.push(key);
      else foreign.push(key);
    }
  }
  return { log, checkpoints, refs, foreign, objects, bytes };
}
