import type { ChangedRange } from '../../../../core/plugin.ts';
import type { Operation } from '../../operation.ts';
import { mapPages } from '../map/block-map.ts';
import type { MapPage } from '../map/map-page.ts';
import { PAGE_BLOCKS, type PageBlocks } from '../map/page-blocks.ts';
import { StoredMap } from '../map/stored-map.ts';
import { LogNames } from '../names.ts';
import { BLOCK } from '../object-header.ts';
import { observe } from '../observe.ts';
import { findSnapshot } from './snapshot-operations.ts';

/**
 * Calls `take` with what is different in `to` (a snapshot; without it, the volume as it is now) from what it was in the snapshot
 * `from`, in the order of the disk. Blocks that the collector has moved since are among it. Pages of the map that are the same
 * are not read, so it takes as long as there are changes, and not as the disk is large. The volume may be in use.
 */
export async function listChanges(
  { store, config, ctx }: Operation,
  { from, to }: { readonly from: string; readonly to?: string | undefined },
  take: (range: ChangedRange) => void,
): Promise<void> {
  const names = new LogNames(config.prefix);
  const { head, key, recovered } = await observe(store, names, { ...config, size: undefined }, ctx);
  const open = (name: string): Promise<StoredMap> =>
    StoredMap.open({ store, names, key }, findSnapshot(head.head, name, config).checkpoint, mapPages(config));
  const before = await open(from);
  const after = to === undefined ? recovered.stored : await open(to);
  const ranges = new Joined(take);
  const pages = { before: byNumber(before), after: byNumber(after) };
  for (const number of [...new Set([...pages.before.keys(), ...pages.after.keys()])].sort((a, b) => a - b)) {
    const [old, now] = [pages.before.get(number), pages.after.get(number)];
    if (old !== undefined && now !== undefined && isSame(old, now)) continue;
    await inMemory(before, old);
    // What was loaded before it stays until something else is: nothing waits from here on.
    await inMemory(after, now);
    compare(before, old?.content, after, now?.content, (kind, at, count) =>
      ranges.add(kind, number * PAGE_BLOCKS + at, count),
    );
  }
  ranges.end();
}

const byNumber = ({ map }: StoredMap): ReadonlyMap<number, MapPage> =>
  new Map(map.inOrder().map((page) => [page.number, page]));

async function inMemory({ map }: StoredMap, page: MapPage | undefined): Promise<void> {
  while (page !== undefined && page.content === undefined) await map.needPage(page);
}

/** They consist of the same slices of the same checkpoints. */
function isSame(a: MapPage, b: MapPage): boolean {
  return (
    a.isClean &&
    b.isClean &&
    a.slices.length === b.slices.length &&
    a.slices.every(
      ({ part, offset }, i) => part.key === b.slices[i]!.part.key && offset === b.slices[i]!.offset,
    )
  );
}

function compare(
  before: StoredMap,
  old: PageBlocks | undefined,
  after: StoredMap,
  now: PageBlocks | undefined,
  take: (kind: ChangedRange['kind'], at: number, count: number) => void,
): void {
  /** Objects of `before` as `after` knows them; 0: a hole; -1: not at all. */
  const known = new Map<number, number>([[0, 0]]);
  const idAfter = (id: number): number => {
    let found = known.get(id);
    if (found === undefined) {
      const { names, place } = before.table.get(id);
      found = after.table.find(names, place!)?.id ?? -1;
      known.set(id, found);
    }
    return found;
  };
  for (let at = 0; at < PAGE_BLOCKS; at++) {
    const id = now?.ids[at] ?? 0;
    const oldId = idAfter(old?.ids[at] ?? 0);
    const isEqual = id === oldId && (id === 0 || now!.blocks[at] === old!.blocks[at]);
    if (!isEqual) take(id === 0 ? 'hole' : 'data', at, 1);
  }
}

/** Ranges next to each other become one. */
class Joined {
  readonly #take: (range: ChangedRange) => void;
  #kind: ChangedRange['kind'] = 'data';
  #lba = 0;
  #count = 0;

  constructor(take: (range: ChangedRange) => void) {
    this.#take = take;
  }

  add(kind: ChangedRange['kind'], lba: number, count: number): void {
    if (kind !== this.#kind || lba !== this.#lba + this.#count) {
      this.end();
      this.#kind = kind;
      this.#lba = lba;
    }
    this.#count += count;
  }

  end(): void {
    if (this.#count > 0)
      this.#take({ offset: this.#lba * BLOCK, length: this.#count * BLOCK, kind: this.#kind });
    this.#count = 0;
  }
}
