import type { LogObject, ObjectTable } from '../log-object.ts';
import type { LogExtent } from '../object-header.ts';
import type { BlockMap } from './block-map.ts';

/** What an object of the log does to the map: the same when it becomes durable and when it is found again. */
export function applyToMap(
  map: BlockMap,
  table: ObjectTable,
  object: LogObject,
  extents: readonly LogExtent[],
): void {
  for (const { kind, lba, blocks, block, source } of extents) {
    if (kind === 'data') map.set(lba, blocks, object.id, block);
    else if (kind === 'zero') map.clear(lba, blocks);
    else {
      // Without its source in the table, if that has all, nothing comes from there any more.
      const from = table.isComplete
        ? table.find(object.names, source!)
        : table.learn(object.names, source!, 0, 0);
      if (from !== undefined) map.move(lba, blocks, object.id, block, from.id, source!.block);
    }
  }
}
