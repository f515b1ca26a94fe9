// hot path: see ARCHITECTURE.md "Data plane"

import {
  PACKED_DESC_F_AVAIL,
  PACKED_DESC_F_USED,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
  VIRTQ_DESC_WORDS,
} from '../abi/virtio-ring.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Scratch, u64 } from '../memory/scratch.ts';
import type { Chain } from './chain.ts';
import type { InheritedList } from './inflight-packed.ts';

/** The flags by which driver and device tell whose a descriptor is. */
export const PACKED_TURN = PACKED_DESC_F_AVAIL | PACKED_DESC_F_USED;

/**
 * Takes descriptor lists out of a packed virtqueue (VIRTIO 1.3, 2.8.5 to 2.8.7). Used descriptors overwrite lists that
 * are still in flight, and the driver may change them at any time: `take` copies each descriptor once, and all the rest
 * is about the copy.
 */
export class PackedWalk {
  /** The list taken last, as it was in the ring: four words for each descriptor. */
  readonly taken: Uint32Array;
  /** Its number of descriptors in the ring. */
  slots = 0;
  /** Its buffer id. */
  id = 0;
  readonly #num: number;
  readonly #ring: Uint32Array;
  readonly #memory: GuestMemory;
  readonly #indirectAllowed: boolean;
  readonly #indirect: Scratch;

  /** `ring`: four words for each of `num` descriptors. */
  constructor(num: number, ring: Uint32Array, memory: GuestMemory, indirectAllowed: boolean) {
    this.#num = num;
    this.#ring = ring;
    this.#memory = memory;
    this.#indirectAllowed = indirectAllowed;
    this.#indirect = new Scratch(indirectAllowed ? num * VIRTQ_DESC_SIZE : 0);
    this.taken = new Uint32Array(num * VIRTQ_DESC_WORDS);
  }

  /**
   * Copies the list that starts at descriptor `index`, whose first descriptor was seen to be available. `turn`: the
   * flags of an available descriptor in this lap of the ring. Returns why there is no list of at most `room`
   * descriptors, or undefined. Without its end a list has no buffer id, so it cannot be given back either.
   */
  take(index: number, turn: number, room: number): string | undefined {
    const ring = this.#ring;
    const taken = this.taken;
    let from = index * VIRTQ_DESC_WORDS;
    let expected = turn;
    for (let slots = 1; slots <= room; slots++) {
      const to = (slots - 1) * VIRTQ_DESC_WORDS;
      const idAndFlags = ring[from + 3]!;
      const flags = idAndFlags >>> 16;
      if (slots > 1 && (flags & PACKED_TURN) !== expected)
        return 'a list goes on with a descriptor that is not available';
      taken[to] = ring[from]!;
      taken[to + 1] = ring[from + 1]!;
      taken[to + 2] = ring[from + 2]!;
      taken[to + 3] = idAndFlags;
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) {
        this.slots = slots;
        this.id = idAndFlags & 0xffff;
        return undefined;
      }
      from += VIRTQ_DESC_WORDS;
      if (from === ring.length) {
        from = 0;
        expected ^= PACKED_TURN;
      }
    }
    return 'more descriptors are available than the ring has';
  }

  /** The list taken last is now one that a predecessor took. */
  restore({ id, slots, descriptors }: InheritedList): void {
    this.id = id;
    this.slots = slots;
    this.taken.set(descriptors);
  }

  /** Turns the list taken last into a chain. Defects are left in `chain`. */
  follow(chain: Chain): void {
    chain.begin();
    const taken = this.taken;
    const end = this.slots * VIRTQ_DESC_WORDS;
    for (let word = 0; word < end; word += VIRTQ_DESC_WORDS) {
      const flags = taken[word + 3]! >>> 16;
      const addr = u64(taken[word]!, taken[word + 1]!);
      const len = taken[word + 2]!;
      if (flags & VIRTQ_DESC_F_INDIRECT) {
        const defect = this.#followIndirect(addr, len, chain);
        if (defect !== undefined) chain.fail(defect);
        return;
      }
      chain.add(addr, len, (flags & VIRTQ_DESC_F_WRITE) !== 0);
    }
  }

  /** The entries of a table follow each other, and their only flag that counts is WRITE (2.8.7). */
  #followIndirect(addr: number, len: number, chain: Chain): string | undefined {
    if (!this.#indirectAllowed) return 'an indirect descriptor, which was not negotiated';
    if (this.slots > 1) return 'a list of several descriptors has an indirect one';
    if (len === 0 || len % VIRTQ_DESC_SIZE !== 0)
      return 'the length of an indirect table is not a positive multiple of 16';
    if (len / VIRTQ_DESC_SIZE > this.#num) return 'an indirect table has more entries than the queue';
    if (!this.#memory.read(addr, len, this.#indirect, 0))
      return 'an indirect table is not in readable memory';
    const words = this.#indirect.words;
    const end = len / 4;
    for (let word = 0; word < end; word += VIRTQ_DESC_WORDS) {
      const writable = ((words[word + 3]! >>> 16) & VIRTQ_DESC_F_WRITE) !== 0;
      chain.add(u64(words[word]!, words[word + 1]!), words[word + 2]!, writable);
    }
    return undefined;
  }
}
