// hot path: see ARCHITECTURE.md "Data plane"

import {
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
  VIRTQ_DESC_WORDS,
} from '../abi/virtio-ring.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Scratch, u64 } from '../memory/scratch.ts';
import type { Chain } from './chain.ts';

/**
 * Follows descriptor chains of a split virtqueue (VIRTIO 1.3, 2.7.5). The driver may change descriptors meanwhile:
 * each is read once, and an indirect table is copied before it is followed.
 */
export class SplitWalk {
  readonly #num: number;
  readonly #table: Uint32Array;
  readonly #memory: GuestMemory;
  readonly #indirectAllowed: boolean;
  readonly #indirect: Scratch;

  /** `table`: the descriptor table, four words for each of `num` descriptors. */
  constructor(num: number, table: Uint32Array, memory: GuestMemory, indirectAllowed: boolean) {
    this.#num = num;
    this.#table = table;
    this.#memory = memory;
    this.#indirectAllowed = indirectAllowed;
    this.#indirect = new Scratch(indirectAllowed ? num * VIRTQ_DESC_SIZE : 0);
  }

  /** Copies the chain that starts at descriptor `head`, which is inside the table. Defects are left in `chain`. */
  follow(head: number, chain: Chain): void {
    chain.begin();
    const defect = this.#followDirect(head, chain);
    if (defect !== undefined) chain.fail(defect);
  }

  /** Returns what is wrong with the chain, if anything. */
  #followDirect(head: number, chain: Chain): string | undefined {
    const table = this.#table;
    let index = head;
    for (let visited = 1; ; visited++) {
      const word = index * VIRTQ_DESC_WORDS;
      const low = table[word]!;
      const high = table[word + 1]!;
      const len = table[word + 2]!;
      const flagsAndNext = table[word + 3]!;
      if (flagsAndNext & VIRTQ_DESC_F_INDIRECT) {
        return this.#followIndirect(u64(low, high), len, flagsAndNext, visited - 1, chain);
      }
      chain.add(u64(low, high), len, (flagsAndNext & VIRTQ_DESC_F_WRITE) !== 0);
      if ((flagsAndNext & VIRTQ_DESC_F_NEXT) === 0) return undefined;
      index = flagsAndNext >>> 16;
      if (index >= this.#num) return 'a next field points outside the descriptor table';
      if (visited === this.#num) return 'the chain is longer than the queue: it has a loop';
    }
  }

  /** The WRITE flag of the descriptor that refers to the table means nothing (2.7.5.3.2). */
  #followIndirect(
    addr: number,
    len: number,
    flagsAndNext: number,
    before: number,
    chain: Chain,
  ): string | undefined {
    if (!this.#indirectAllowed) return 'an indirect descriptor, which was not negotiated';
    if (flagsAndNext & VIRTQ_DESC_F_NEXT) return 'a descriptor is both indirect and continued';
    if (len === 0 || len % VIRTQ_DESC_SIZE !== 0)
      return 'the length of an indirect table is not a positive multiple of 16';
    const entries = len / VIRTQ_DESC_SIZE;
    if (entries > this.#num) return 'an indirect table has more entries than the queue';
    if (!this.#memory.read(addr, len, this.#indirect, 0))
      return 'an indirect table is not in readable memory';
    const words = this.#indirect.words;
    const longest = Math.min(entries, this.#num - before);
    let index = 0;
    for (let visited = 1; ; visited++) {
      const word = index * VIRTQ_DESC_WORDS;
      const flags = words[word + 3]!;
      if (flags & VIRTQ_DESC_F_INDIRECT) return 'an indirect table contains an indirect descriptor';
      chain.add(u64(words[word]!, words[word + 1]!), words[word + 2]!, (flags & VIRTQ_DESC_F_WRITE) !== 0);
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return undefined;
      index = flags >>> 16;
      if (index >= entries) return 'a next field points outside its indirect table';
      if (visited >= longest) return 'the chain is longer than its table or the queue: it has a loop';
    }
  }
}
