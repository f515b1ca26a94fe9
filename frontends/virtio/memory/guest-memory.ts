// hot path: see ARCHITECTURE.md "Data plane"

import { type AccessBits, Mapping } from './mapping.ts';
import type { Scratch } from './scratch.ts';

/**
 * Finds and maps the region that holds `iova`: VDUSE_IOTLB_GET_FD and mmap, synchronously. Returns undefined when
 * there is none. The table owns the mapping afterwards.
 */
export type ResolveMapping = (iova: number) => Mapping | undefined;

const NOWHERE = new Mapping({ iova: 0, length: 0, access: 0, buffer: new ArrayBuffer(0) });

/**
 * One generation of guest memory: the mappings in use between two invalidations (a reset, an IOTLB update).
 *
 * Regions appear lazily, on the first access to each. Whoever works with the memory holds a pin; after `retire` no
 * further access is granted, and everything is unmapped when the last pin is gone. A new generation is a new object:
 * so nothing that was looked up in one can be mistaken for the other.
 */
export class GuestMemory {
  readonly #resolve: ResolveMapping;
  /** Sorted by address, without overlaps. */
  readonly #table: Mapping[] = [];
  readonly #owned: Mapping[] = [];
  #last: Mapping = NOWHERE;
  #pins = 0;
  #retired: PromiseWithResolvers<void> | undefined;

  constructor(resolve: ResolveMapping) {
    this.#resolve = resolve;
  }

  /**
   * The mapping that holds `iova` and grants `access`; whether its pages are present is another question. Undefined is
   * an ordinary outcome: guests send anything.
   */
  lookup(iova: number, access: AccessBits): Mapping | undefined {
    let mapping: Mapping | undefined = this.#last;
    if (iova < mapping.iova || iova >= mapping.end) {
      mapping = this.#find(iova);
      if (mapping === undefined) return undefined;
      this.#last = mapping;
    }
    return (mapping.access & access) === access ? mapping : undefined;
  }

  /** Copies `length` bytes at `iova` to byte `at` of `target`, across adjacent regions. False: not all readable. */
  read(iova: number, length: number, target: Scratch, at: number): boolean {
    let done = 0;
    while (done < length) {
      const mapping = this.lookup(iova + done, 1);
      if (mapping === undefined) return false;
      const take = Math.min(length - done, mapping.end - iova - done);
      if (!mapping.present(iova + done, iova + done + take)) return false;
      mapping.load(iova + done, take, target, at + done);
      done += take;
    }
    return true;
  }

  /** Copies bytes [at, at + length) of `source` to `iova`, across adjacent regions. False: not all writable. */
  write(iova: number, length: number, source: Uint8Array, at: number): boolean {
    let done = 0;
    while (done < length) {
      const mapping = this.lookup(iova + done, 2);
      if (mapping === undefined) return false;
      const take = Math.min(length - done, mapping.end - iova - done);
      if (!mapping.present(iova + done, iova + done + take)) return false;
      mapping.store(iova + done, take, source, at + done);
      done += take;
    }
    return true;
  }

  get pins(): number {
    return this.#pins;
  }

  /** Keeps every mapping in place until `unpin`. Throws when the generation is retired. */
  pin(): void {
    if (this.#retired)
      throw new Error('guest memory is retired: look addresses up in the current generation');
    this.#pins++;
  }

  unpin(): void {
    if (this.#pins === 0) throw new Error('guest memory is not pinned');
    this.#pins--;
    if (this.#pins === 0 && this.#retired) this.#unmap();
  }

  /** Grants nothing from now on. Settles when everything is unmapped, which waits for the last pin. */
  retire(): Promise<void> {
    if (this.#retired) return this.#retired.promise;
    this.#retired = Promise.withResolvers();
    this.#table.length = 0;
    this.#last = NOWHERE;
    if (this.#pins === 0) this.#unmap();
    return this.#retired.promise;
  }

  #find(iova: number): Mapping | undefined {
    if (!(iova >= 0) || this.#retired) return undefined;
    const table = this.#table;
    const index = this.#firstEndingAfter(iova);
    const found = table[index];
    if (found !== undefined && iova >= found.iova) return found;
    const mapping = this.#resolve(iova);
    if (mapping === undefined) return undefined;
    this.#owned.push(mapping);
    if (iova < mapping.iova || iova >= mapping.end) return undefined;
    this.#insert(mapping);
    return mapping;
  }

  /** The newest answer wins where it overlaps older ones; those stay mapped for whoever is using them. */
  #insert(mapping: Mapping): void {
    const from = this.#firstEndingAfter(mapping.iova);
    let to = from;
    while (to < this.#table.length && this.#table[to]!.iova < mapping.end) to++;
    this.#table.splice(from, to - from, mapping);
  }

  #firstEndingAfter(iova: number): number {
    let low = 0;
    let high = this.#table.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#table[middle]!.end <= iova) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #unmap(): void {
    const failures: unknown[] = [];
    for (const mapping of this.#owned.splice(0)) {
      try {
        mapping.unmap();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length === 0) this.#retired!.resolve();
    else this.#retired!.reject(new AggregateError(failures, 'guest memory could not be unmapped'));
  }
}
