// hot path: see ARCHITECTURE.md "Data plane"

/** Numbers of one change. */
const WORDS = 6;
const FIRST = 8 * WORDS;

/**
 * What happens to a run of blocks of a page: from now on they come from `id`, from its block `block` on; 0: they are zeros.
 * With `fromId`, only those that come from there until now, from its block `fromBlock` on.
 */
export type TakeChange = (
  at: number,
  count: number,
  id: number,
  block: number,
  fromId: number,
  fromBlock: number,
) => void;

/** Changes of one page in their order. */
export class Changes {
  #words = new Uint32Array(FIRST);
  #used = 0;
  #blocks = 0;

  get length(): number {
    return this.#used / WORDS;
  }

  /** In all of them; a block that changes twice counts twice. */
  get blocks(): number {
    return this.#blocks;
  }

  add(at: number, count: number, id: number, block: number, fromId = 0, fromBlock = 0): void {
    this.#blocks += count;
    const words = this.#words;
    const last = this.#used - WORDS;
    // It goes on where the one before it ends.
    if (
      last >= 0 &&
      words[last]! + words[last + 1]! === at &&
      words[last + 2] === id &&
      (id === 0 || words[last + 3]! + words[last + 1]! === block) &&
      words[last + 4] === fromId &&
      (fromId === 0 || words[last + 5]! + words[last + 1]! === fromBlock)
    ) {
      words[last + 1]! += count;
      return;
    }
    if (this.#used === words.length) {
      this.#words = new Uint32Array(2 * words.length);
      this.#words.set(words);
    }
    this.#words.set([at, count, id, block, fromId, fromBlock], this.#used);
    this.#used += WORDS;
  }

  each(take: TakeChange): void {
    const words = this.#words;
    for (let i = 0; i < this.#used; i += WORDS)
      take(words[i]!, words[i + 1]!, words[i + 2]!, words[i + 3]!, words[i + 4]!, words[i + 5]!);
  }
}
