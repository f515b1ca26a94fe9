import type { Head } from '../head.ts';
import type { LogNames } from '../names.ts';
import type { NeededObjects } from './needed.ts';
import type { ChainLink } from './objects.ts';
import type { Report } from './report.ts';

/** The chain of hashes, wherever both of two neighbours are still there, and where checkpoints continue it. */
export function checkChain(
  names: LogNames,
  head: Head,
  links: ReadonlyMap<string, ChainLink>,
  needed: NeededObjects,
  report: Report,
): void {
  for (const { object, previous } of links.values()) {
    const { epoch, seq } = object.place;
    const before = links.get(object.names.object({ epoch, seq: seq - 1 }));
    if (before !== undefined && !before.hash.equals(previous))
      report.error(object.key, 'it does not continue the object before it: the chain of hashes is broken', [
        ...needed.usesOf(object),
      ]);
  }
  for (const ref of [head.checkpoint, ...head.snapshots.map(({ checkpoint }) => checkpoint)]) {
    const last = ref && links.get(names.object(ref.at));
    if (ref && last && last.hash.toString('hex') !== ref.hash)
      report.error(last.object.key, `it is not the object that the checkpoint ${ref.key} ends with`, [
        ...needed.usesOf(last.object),
      ]);
  }
}
