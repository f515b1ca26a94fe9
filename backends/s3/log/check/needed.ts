import type { ObjectTable } from '../log-object.ts';
import type { StoredMap } from '../map/stored-map.ts';
import type { LogNames, LogPosition } from '../names.ts';
import type { Blocks } from './report.ts';

/** An object of the log that the disk or a snapshot of it needs. */
export interface NeededObject {
  readonly key: string;
  readonly names: LogNames;
  readonly place: LogPosition;
  /** Blocks of data that it should hold; undefined where only the object itself says so. */
  blocks: number | undefined;
  /** It is reported already. */
  isBad: boolean;
  /** For each run of blocks that comes from it: number of the view, first block of the disk, blocks, first block in it. */
  readonly uses: number[];
}

/** A run of blocks of a view of the disk that comes from an object. */
export interface Use extends Blocks {
  /** First block in the object. */
  readonly block: number;
}

/** Every object that is needed, and what for. */
export class NeededObjects {
  readonly #byKey = new Map<string, NeededObject>();
  /** Names of snapshots; the first is the disk as it is now. */
  readonly #views: (string | undefined)[] = [undefined];

  /** Checkpoints that are needed: keys. */
  readonly checkpoints = new Set<string>();
  /** Checkpoints and objects that are known not to be needed, and will be deleted when it is time: keys. */
  readonly spare = new Set<string>();

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): NeededObject | undefined {
    return this.#byKey.get(key);
  }

  add(names: LogNames, place: LogPosition, blocks: number | undefined): NeededObject {
    const key = names.object(place);
    let object = this.#byKey.get(key);
    if (object === undefined) {
      object = { key, names, place, blocks, isBad: false, uses: [] };
      this.#byKey.set(key, object);
    }
    object.blocks ??= blocks;
    return object;
  }

  /** `stored`: what it consists of, if that can be read. */
  addCheckpoint(key: string, stored: StoredMap | undefined): void {
    const { needed, known } = stored?.checkpoints ?? { needed: [], known: [] };
    for (const one of [key, ...needed]) this.checkpoints.add(one);
    for (const one of known) this.spare.add(one);
  }

  addObjects(table: ObjectTable): void {
    for (const { names, place, blocks, live } of table.values())
      if (live > 0) this.add(names, place!, blocks);
      else this.spare.add(names.object(place!));
  }

  /** Where the blocks of a view come from. */
  async useAll({ map, table }: StoredMap, view: string | undefined): Promise<void> {
    await map.eachRun(({ id, lba, count, block }) => {
      const { names, place, blocks } = table.get(id);
      this.use(this.add(names, place!, blocks), view, lba, count, block);
    });
  }

  use(object: NeededObject, view: string | undefined, lba: number, count: number, block: number): void {
    let number = this.#views.lastIndexOf(view);
    if (number < 0) number = this.#views.push(view) - 1;
    object.uses.push(number, lba, count, block);
  }

  *usesOf({ uses }: NeededObject): Generator<Use> {
    for (let at = 0; at < uses.length; at += 4)
      yield {
        view: this.#views[uses[at]!],
        lba: uses[at + 1]!,
        count: uses[at + 2]!,
        block: uses[at + 3]!,
      };
  }

  values(): IterableIterator<NeededObject> {
    return this.#byKey.values();
  }
}
