import type { LogObject } from '../log-object.ts';
import type { StoredMap } from '../map/stored-map.ts';

/** What the log occupies beyond what is needed. Blocks. */
export class LogSpace {
  readonly #stored: StoredMap;
  /** Of the objects in the table that are durable. */
  #blocks: number;
  /** Garbage of objects that must stay as they are, when they were last looked at. */
  #fixed: number;
  /** Objects of which everything was copied, until a checkpoint frees them. */
  readonly #emptied = new Set<LogObject>();
  emptiedBlocks = 0;
  /** Of objects that are being deleted. */
  deleting = 0;
  /** Objects that the last collection could not read. */
  readonly unreadable = new Set<LogObject>();

  constructor(stored: StoredMap) {
    this.#stored = stored;
    this.#blocks = stored.usage.blocks;
    // Before all objects are known, nobody can tell what of it may be freed.
    this.#fixed = this.garbage;
  }

  /** Blocks of the disk that are in use. */
  get used(): number {
    return this.#stored.map.used;
  }

  /** What nothing refers to, as far as is known, and what was overwritten where nobody has looked. */
  get garbage(): number {
    const { map } = this.#stored;
    return this.#blocks - map.used + Math.min(map.used, map.unresolvedBlocks);
  }

  /** Garbage for which a collection has to do something yet. */
  get uncollected(): number {
    return this.garbage - this.#fixed - this.emptiedBlocks;
  }

  /** Garbage that is in the bucket, and need not stay there. */
  get occupied(): number {
    return this.garbage - this.#fixed + this.deleting;
  }

  /** It has become durable. */
  added({ blocks }: LogObject): void {
    this.#blocks += blocks;
  }

  /** Everything in it was copied. */
  emptied(object: LogObject): void {
    if (this.#emptied.has(object)) return;
    this.#emptied.add(object);
    this.emptiedBlocks += object.blocks;
  }

  /** It is not in the table any more. Returns how much of it nobody had made free before. */
  removed(object: LogObject): number {
    this.#blocks -= object.blocks;
    if (!this.#emptied.delete(object)) return object.blocks;
    this.emptiedBlocks -= object.blocks;
    return 0;
  }

  /** Looks what garbage has to stay. All objects are known. */
  judge(mayGo: (object: LogObject) => boolean): void {
    let fixed = 0;
    for (const object of this.#stored.table.values()) {
      if (object.place === undefined || object.data !== undefined) continue;
      if (this.unreadable.has(object) || !mayGo(object)) fixed += object.blocks - object.live;
    }
    this.#fixed = fixed;
  }
}
