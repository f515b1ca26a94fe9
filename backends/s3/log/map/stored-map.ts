import { corrupt } from '../corrupt.ts';
import type { CheckpointRef } from '../head.ts';
import { type LogObject, ObjectTable } from '../log-object.ts';
import type { LogSource } from '../log-source.ts';
import type { LogPosition } from '../names.ts';
import type { Usage } from '../usage.ts';
import { BlockMap } from './block-map.ts';
import { loadPage } from './load-page.ts';
import { MANY_SLICES, type MapPage, type StoredPage } from './map-page.ts';
import { PageBlocks } from './page-blocks.ts';
import { encodeChanges, encodePage } from './page-slice.ts';
import type { Part, SliceRef } from './part.ts';
import { MAX_SLICES, NewSlices, type Root } from './root.ts';
import { SliceReader } from './slice-reader.ts';
import { decodeTable, encodeTable, type TableEntry, tableBytes } from './table-slice.ts';

/** So many pages are loaded for a checkpoint, to put them together. */
const MOST_TOGETHER = 256;
/** Of a checkpoint before, less than a quarter is needed. */
const POOR = 4;

/** What a checkpoint is made of. */
export interface CutOptions {
  readonly epoch: number;
  readonly number: number;
  /** The last object of the log that is in it. */
  readonly at: LogPosition;
  /** Objects that it does not need any more. */
  readonly removed: readonly LogObject[];
  /** Of an object with a place: it counts. */
  readonly isDurable: (object: LogObject) => boolean;
  /** Checkpoints that snapshots need, by key; undefined: not known, nothing may go. */
  readonly pinned: ReadonlySet<string> | undefined;
}

/** A checkpoint that is being made. */
export interface Cut {
  readonly body: Buffer;
  /** Bytes of it that come before the slices. */
  readonly rootBytes: number;
  /** Keys of checkpoints of this volume that nothing refers to any more once this one counts. */
  readonly condemned: readonly string[];
  /** Whether it refers to this checkpoint, or has just condemned it. */
  readonly knows: (key: string) => boolean;
  /** It counts. */
  readonly done: () => void;
  /** It never will. */
  readonly failed: () => void;
}

/** The map and the objects that it refers to, as far as they are in memory, and what checkpoints have of them. */
export class StoredMap {
  readonly table = new ObjectTable();
  readonly map: BlockMap;
  readonly reader: SliceReader;
  readonly #source: LogSource;
  #tables: readonly SliceRef[];
  /** Checkpoints that are needed, and those that are to be condemned. */
  #parts: ReadonlySet<Part>;
  /** What the objects hold that the tables name. */
  #usage: Usage;
  #knowing: Promise<void> | undefined;

  private constructor(source: LogSource, root: Root | undefined, maxLoaded: number) {
    this.#source = source;
    this.reader = new SliceReader(source.store, source.key);
    this.#tables = root?.tables ?? [];
    this.#parts = new Set(root?.parts ?? []);
    this.#usage = { blocks: root?.blocks ?? 0, stored: root?.stored ?? 0 };
    this.table.isComplete = this.#tables.length === 0;
    this.map = new BlockMap(
      this.table,
      root?.pages ?? [],
      (page, take) => loadPage(this.reader, this.table, page, take),
      maxLoaded,
    );
  }

  /** As the checkpoint says; of the pages and objects nothing is read before it is needed. Throws `volume.corrupt`. */
  static async open(
    source: LogSource,
    ref: CheckpointRef | null,
    maxLoaded = Number.POSITIVE_INFINITY,
  ): Promise<StoredMap> {
    const root = ref === null ? undefined : await new SliceReader(source.store, source.key).root(ref);
    return new StoredMap(source, root, maxLoaded);
  }

  /** Of all objects that are stored, those that nobody has looked at included. */
  get usage(): Usage {
    return this.#usageOf(({ data }) => data === undefined);
  }

  /** Of the objects that count, as far as they are known, and of those that are not. */
  #usageOf(counts: (object: LogObject) => boolean): Usage {
    const { isComplete } = this.table;
    let { blocks, stored } = isComplete ? { blocks: 0, stored: 0 } : this.#usage;
    for (const object of this.table.values()) {
      if (object.place === undefined || !counts(object) || (object.isStored && !isComplete)) continue;
      blocks += object.blocks;
      stored += object.stored;
    }
    return { blocks, stored };
  }

  /** Keys of checkpoints: those that this one consists of, and those that may go as soon as no snapshot needs them. */
  get checkpoints(): { readonly needed: ReadonlySet<string>; readonly known: ReadonlySet<string> } {
    const known = [...this.#parts].map((part) => part.key);
    const slices = [...this.#tables, ...this.map.inOrder().flatMap((page) => page.slices)];
    return {
      needed: new Set([...known.slice(0, 1), ...slices.map(({ part }) => part.key)]),
      known: new Set(known),
    };
  }

  /** Settles when the table has all objects. Throws `volume.corrupt`. */
  knowObjects(): Promise<void> {
    if (this.table.isComplete) return Promise.resolve();
    this.#knowing ??= this.#readTables().finally(() => {
      this.#knowing = undefined;
    });
    return this.#knowing;
  }

  async #readTables(): Promise<void> {
    const seen: SeenTables = new Map();
    let tables: readonly SliceRef[];
    let entries: TableEntry[];
    // A checkpoint that is made meanwhile adds a slice with what has changed since.
    do {
      tables = this.#tables;
      entries = await readTables(this.reader, tables, seen);
    } while (this.#tables !== tables);
    const listed = new Set<LogObject>();
    const merged = mergeEntries(entries);
    for (const { names, place, blocks, stored, live } of merged.values()) {
      const object = this.table.learn(names, place, blocks, stored);
      // What this session has changed of it is in `live` already, and what of that is stored in `saved`.
      object.live += live - object.saved;
      object.saved = live;
      object.isStored = true;
      listed.add(object);
    }
    // Copies may have named what is not there any more.
    for (const object of [...this.table.values()])
      if (object.isStored && !listed.has(object) && object.live === 0) this.table.remove(object);
    this.table.isComplete = true;
  }

  /**
   * Loads pages that are worth being put together, so that the next checkpoint stores them whole: `most`, and those that could
   * not get many slices more.
   */
  async prepare(most = MOST_TOGETHER): Promise<void> {
    const pages = this.#scattered();
    const full = pages.filter(({ slices }) => slices.length > MAX_SLICES / 2).length;
    for (const page of pages.slice(0, Math.max(most, full))) {
      await this.map.needPage(page);
      if (page.content !== undefined) page.storeWhole();
    }
  }

  /** The next checkpoint stores the page whole, if it has slices in those of another volume. Returns whether it has. */
  async ownPage(page: MapPage): Promise<boolean> {
    if (!page.slices.some((slice) => this.#isForeign(slice))) return false;
    while (page.content === undefined) await this.map.needPage(page);
    page.storeWhole();
    return true;
  }

  /** The last checkpoint needs nothing of another volume, and nobody reads something of one. All objects are known. */
  get isOwn(): boolean {
    const slices = [...this.#tables, ...this.map.inOrder().flatMap((page) => page.slices)];
    return (
      !slices.some((slice) => this.#isForeign(slice)) &&
      // Pages may name, in older slices, what nothing comes from any more.
      this.foreign.every(({ live, saved, readers }) => live === 0 && saved === 0 && readers === 0)
    );
  }

  /** Blocks that come from other volumes, at most. All objects are known. */
  get foreignBlocks(): number {
    return this.foreign.reduce((sum, { live }) => sum + Math.max(0, live), 0);
  }

  /** Objects of other volumes, as far as they are known. */
  get foreign(): LogObject[] {
    const { root } = this.#source.names;
    return [...this.table.values()].filter(({ names }) => names.root !== root);
  }

  #isForeign({ part }: SliceRef): boolean {
    return part.names.root !== this.#source.names.root;
  }

  /** Pages that consist of many slices, the most first, and those in checkpoints of which little else is needed. */
  #scattered(): MapPage[] {
    const needed = new Map<Part, number>();
    const pages = this.map.inOrder();
    for (const { part, length } of [...this.#tables, ...pages.flatMap(({ slices }) => slices)])
      needed.set(part, (needed.get(part) ?? 0) + length);
    const isPoor = (slice: SliceRef): boolean =>
      !this.#isForeign(slice) && needed.get(slice.part)! * POOR < slice.part.bytes + slice.part.dataAt;
    return pages
      .filter(({ slices }) => slices.length >= MANY_SLICES || slices.some(isPoor))
      .sort((a, b) => b.slices.length - a.slices.length);
  }

  /** A checkpoint of all that the map knows now. Only one at a time. */
  cut({ epoch, number, at, removed, isDurable, pinned }: CutOptions): Cut {
    const { names, key } = this.#source;
    const slices = new NewSlices(names, epoch, number, key);
    const pages: { readonly page: MapPage; readonly state: StoredPage | undefined }[] = [];
    for (const page of this.map.inOrder()) {
      if (page.isNothing) {
        this.map.forget(page);
        continue;
      }
      const what = page.cut(this.table);
      if (page.content?.used === 0) {
        pages.push({ page, state: undefined });
        continue;
      }
      const bytes =
        what &&
        (what instanceof PageBlocks
          ? encodePage(page.number, what, this.table)
          : encodeChanges(page.number, what, this.table));
      pages.push({ page, state: page.stateAfter(bytes && slices.add(bytes)) });
    }
    const gone = new Set(removed);
    const changed = [...this.table.values()].filter(
      (object) =>
        object.place !== undefined &&
        (gone.has(object)
          ? object.isStored
          : isDurable(object) && (!object.isStored || object.live !== object.saved)),
    );
    const { tables, saved } = this.#cutTables(slices, changed, gone, isDurable);
    const states = pages.flatMap(({ state }) => state ?? []);
    const { parts, condemned } = this.#partsOf(slices.self, states, tables, pinned);
    const usage = this.#usageOf((object) => !gone.has(object) && isDurable(object));
    const { body, rootBytes } = slices.finish({ at, parts, tables, pages: states, ...usage });
    return {
      body,
      rootBytes,
      condemned,
      knows: (name) => condemned.includes(name) || [...parts].some((part) => part.key === name),
      done: () => {
        for (const { page, state } of pages) this.#pageDone(page, state);
        for (const [object, live] of saved) {
          object.saved += live;
          object.isStored = true;
        }
        this.#tables = tables;
        this.#parts = parts;
        this.#usage = usage;
        this.map.trim();
      },
      failed: () => {
        for (const { page } of pages) page.cutFailed();
      },
    };
  }

  #pageDone(page: MapPage, state: StoredPage | undefined): void {
    page.cutStored(state ?? { number: page.number, used: 0, slices: [], unresolved: 0, unresolvedBlocks: 0 });
    if (state !== undefined) return;
    if (page.content?.used === 0) this.map.forget(page);
    else page.storeWhole();
  }

  /** All objects anew when what has changed is more than a quarter of what there is. `saved`: by how much they are more live. */
  #cutTables(
    slices: NewSlices,
    changed: readonly LogObject[],
    gone: ReadonlySet<LogObject>,
    isDurable: (object: LogObject) => boolean,
  ): { readonly tables: readonly SliceRef[]; readonly saved: ReadonlyMap<LogObject, number> } {
    const saved = new Map(changed.map((object) => [object, object.live - object.saved]));
    const [all, ...since] = this.#tables;
    const bytes = since.reduce((sum, { length }) => sum + length, tableBytes(changed.length));
    // Those of a parent are left behind as soon as they are known.
    const isForeign = this.#tables.some((slice) => this.#isForeign(slice));
    const isTogether = this.table.isComplete && (isForeign || 4 * bytes > (all?.length ?? 0));
    if (isTogether) {
      const objects = [...this.table.values()].filter(
        (object) => object.place !== undefined && !gone.has(object) && isDurable(object),
      );
      const entries = objects.map((object) => entryOf(object, object.live, false));
      return { tables: entries.length === 0 ? [] : [slices.add(encodeTable(entries))], saved };
    }
    if (changed.length === 0) return { tables: this.#tables, saved };
    const entries = changed.map((object) => entryOf(object, saved.get(object)!, gone.has(object)));
    return { tables: [...this.#tables, slices.add(encodeTable(entries))], saved };
  }

  /** Checkpoints of others are left out as soon as nothing refers to them. */
  #partsOf(
    self: Part,
    pages: readonly StoredPage[],
    tables: readonly SliceRef[],
    pinned: ReadonlySet<string> | undefined,
  ): { readonly parts: ReadonlySet<Part>; readonly condemned: readonly string[] } {
    const parts = new Set([self]);
    for (const { part } of tables) parts.add(part);
    for (const { slices } of pages) for (const { part } of slices) parts.add(part);
    const condemned: string[] = [];
    for (const part of this.#parts) {
      if (parts.has(part) || part.names.root !== this.#source.names.root || pinned?.has(part.key)) continue;
      // Not forgotten before it may be condemned.
      if (pinned === undefined) parts.add(part);
      else condemned.push(part.key);
    }
    return { parts, condemned };
  }
}

const entryOf = ({ names, place, blocks, stored }: LogObject, live: number, isGone: boolean): TableEntry => ({
  names,
  place: place!,
  blocks,
  stored,
  live,
  isGone,
});

/** Slices of tables that were read, by the name of their part and their offset. */
export type SeenTables = Map<string, Promise<readonly TableEntry[]>>;

/** All entries, in their order. */
export async function readTables(
  reader: SliceReader,
  tables: readonly SliceRef[],
  seen: SeenTables = new Map(),
): Promise<TableEntry[]> {
  const slices = await Promise.all(
    tables.map((ref) => {
      const name = `${ref.part.key} ${ref.offset}`;
      const reading = seen.get(name) ?? readTable(reader, ref);
      seen.set(name, reading);
      return reading;
    }),
  );
  return slices.flat();
}

async function readTable(reader: SliceReader, ref: SliceRef): Promise<readonly TableEntry[]> {
  const entries = decodeTable(await reader.slice(ref));
  if (typeof entries === 'string') throw corrupt(ref.part.key, entries);
  return entries;
}

/** What all of them together say of each object, by key. */
export function mergeEntries(entries: readonly TableEntry[]): Map<string, TableEntry> {
  const merged = new Map<string, TableEntry>();
  for (const entry of entries) {
    const key = entry.names.object(entry.place);
    const before = merged.get(key);
    if (entry.isGone) merged.delete(key);
    else
      merged.set(key, {
        ...entry,
        blocks: Math.max(entry.blocks, before?.blocks ?? 0),
        stored: Math.max(entry.stored, before?.stored ?? 0),
        live: entry.live + (before?.live ?? 0),
      });
  }
  return merged;
}
