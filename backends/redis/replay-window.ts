// hot path: see ARCHITECTURE.md "Data plane"

import type { Change } from './change.ts';
import type { WriteMemory } from './write-memory.ts';

/** Changes that are answered and not durable, in the order of their answers: what a server may forget. */
export class ReplayWindow {
  readonly #memory: WriteMemory;
  #changes: Change[] = [];
  #bytes = 0;

  /** `memory`: where the writes are. */
  constructor(memory: WriteMemory) {
    this.#memory = memory;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get changes(): readonly Change[] {
    return this.#changes;
  }

  get last(): Change | undefined {
    return this.#changes.at(-1);
  }

  add(change: Change): void {
    this.#changes.push(change);
    this.#bytes += change.weight;
  }

  /** Everything up to `last` is durable; undefined: nothing. */
  flushed(last: Change | undefined): void {
    const count = last === undefined ? 0 : this.#changes.indexOf(last) + 1;
    for (let i = 0; i < count; i++) {
      const { weight, slab } = this.#changes[i]!;
      this.#bytes -= weight;
      if (slab !== undefined) this.#memory.giveBack(slab);
    }
    this.#changes = this.#changes.slice(count);
  }
}
