import type { LogObject } from '../log-object.ts';

interface Age {
  /** When its content was written: the clock then. A copy is as old as what it was copied from. */
  readonly written: number;
  /** Since when it is known to be there. Milliseconds. */
  readonly since: number;
}

/**
 * How old what an object holds is. The clock counts blocks that were stored, so a disk that is idle grows no older. Ages are
 * not stored: of a volume that was opened, the order of its objects gives them.
 */
export class ObjectAges {
  readonly #ages = new WeakMap<LogObject, Age>();
  #clock = 0;

  /** @param objects that are there, in the order of the log. */
  constructor(objects: Iterable<LogObject>) {
    for (const object of objects) this.add(object);
  }

  /** They were there before all others, in this order: it was not known of them. */
  addBefore(objects: readonly LogObject[]): void {
    let written = -objects.reduce((sum, { blocks }) => sum + blocks, 0);
    const since = performance.now();
    for (const object of objects) {
      written += object.blocks;
      this.#ages.set(object, { written, since });
    }
  }

  has(object: LogObject): boolean {
    return this.#ages.has(object);
  }

  /** It has just been stored. */
  add(object: LogObject): void {
    this.#clock += object.blocks;
    this.#ages.set(object, { written: this.#clock, since: performance.now() });
  }

  /** Its content was written earlier than it was stored. */
  backdate(object: LogObject, written: number): void {
    const since = this.#ages.get(object)?.since ?? performance.now();
    this.#ages.set(object, { written, since });
  }

  written(object: LogObject): number {
    return this.#ages.get(object)?.written ?? this.#clock;
  }

  /** Blocks that were stored since its content was. */
  age(object: LogObject): number {
    return this.#clock - this.written(object);
  }

  /** How long it has been there, as far as is known. Hours. */
  hours(object: LogObject): number {
    const since = this.#ages.get(object)?.since;
    return since === undefined ? 0 : (performance.now() - since) / 3_600_000;
  }
}
