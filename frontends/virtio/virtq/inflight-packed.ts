// hot path: see ARCHITECTURE.md "Data plane"

import { VIRTQ_DESC_WORDS } from '../abi/virtio-ring.ts';
import {
  badInFlightLog,
  checkInFlightHeader,
  INFLIGHT_DESC_NUM_UNIT,
  INFLIGHT_VERSION,
  INFLIGHT_VERSION_UNIT,
} from './inflight.ts';

/**
 * `QueueRegionPacked` of vhost-user: features u64, version u16, desc_num u16, free_head u16, old_free_head u16,
 * used_idx u16, old_used_idx u16. Here the used indices have the wrap counter as their bit 15, as in vhost's vring
 * base, because both have to change in one store; the bytes that the format has for the counters stay 0.
 */
const HEADER_BYTES = 32;
const FREE_HEAD_UNIT = 6;
const OLD_FREE_HEAD_UNIT = 7;
const USED_UNIT = 8;
const OLD_USED_UNIT = 9;
/**
 * `DescStatePacked`: inflight u8, padding, next u16 at 2, last u16, num u16, counter u64 at 8; from 16 on a descriptor:
 * id u16, flags u16, len u32, addr u64.
 */
const ENTRY_BYTES = 32;
const NEXT_UNIT = 1;
const LAST_UNIT = 2;
const NUM_UNIT = 3;
const COUNTER_WORD = 2;
const ID_AND_FLAGS_WORD = 4;
const LEN_WORD = 5;
const ADDR_WORD = 6;

/** What a predecessor had in flight. */
export interface InheritedPacked {
  /** Where it would have marked the next descriptor as used: index, and the wrap counter as bit 15. */
  readonly used: number;
  /** Oldest first. */
  readonly lists: readonly InheritedList[];
}

export interface InheritedList {
  /** Buffer id. */
  readonly id: number;
  readonly slots: number;
  /** Its descriptors as they were in the ring, four words each. */
  readonly descriptors: Uint32Array;
}

/**
 * The log of a packed virtqueue: the descriptors of every list in flight, since used descriptors overwrite the ring,
 * and the order in which they were taken. What is said about stores at `SplitInFlightLog` holds here too.
 *
 * Each entry is free, or part of a list that is in flight. A list begins to be in flight when `old_free_head` passes
 * its entries. The lists of a batch go back to the free entries in `free_head` first; that counts once the ring shows
 * that the driver can see the batch, and does not otherwise.
 */
export class PackedInFlightLog {
  readonly #num: number;
  readonly #bytes: Uint8Array;
  readonly #units: Uint16Array;
  readonly #words: Uint32Array;
  /** By buffer id: the first entry of the list in flight. */
  readonly #entryOf: Uint16Array;
  /** First entries of the lists given back since the last `settle`. */
  readonly #batch: Uint16Array;
  #batchSize = 0;
  /** Counter of the next list, low and high half. */
  readonly #counter = new Uint32Array(2);

  /** `memory`: 8-byte aligned. Throws `virtio.bad-inflight-log` when it is too small for `num` entries. */
  constructor(memory: Uint8Array, num: number) {
    const bytes = HEADER_BYTES + ENTRY_BYTES * num;
    if (memory.length < bytes) throw badInFlightLog(`It has no room for a virtqueue of ${num} entries.`);
    this.#num = num;
    this.#bytes = new Uint8Array(memory.buffer, memory.byteOffset, bytes);
    this.#units = new Uint16Array(memory.buffer, memory.byteOffset, bytes / 2);
    this.#words = new Uint32Array(memory.buffer, memory.byteOffset, bytes / 4);
    this.#entryOf = new Uint16Array(num);
    this.#batch = new Uint16Array(num);
  }

  /** Takes a log into use that is all zero. `used`: as in `InheritedPacked`. */
  start(used: number): void {
    const units = this.#units;
    for (let entry = 0; entry < this.#num; entry++) units[unitOf(entry) + NEXT_UNIT] = entry + 1;
    units[INFLIGHT_DESC_NUM_UNIT] = this.#num;
    units[USED_UNIT] = used;
    units[OLD_USED_UNIT] = used;
    Atomics.store(units, INFLIGHT_VERSION_UNIT, INFLIGHT_VERSION);
  }

  /** A list is about to be carried out. `descriptors`: as they are in the ring, four words each. */
  take(id: number, slots: number, descriptors: Uint32Array): void {
    const units = this.#units;
    const words = this.#words;
    const counter = this.#counter;
    const first = units[FREE_HEAD_UNIT]!;
    let last = first;
    let entry = first;
    for (let slot = 0; slot < slots; slot++) {
      const from = slot * VIRTQ_DESC_WORDS;
      const to = wordOf(entry);
      words[to + ADDR_WORD] = descriptors[from]!;
      words[to + ADDR_WORD + 1] = descriptors[from + 1]!;
      words[to + LEN_WORD] = descriptors[from + 2]!;
      words[to + ID_AND_FLAGS_WORD] = descriptors[from + 3]!;
      last = entry;
      entry = units[unitOf(entry) + NEXT_UNIT]!;
    }
    const word = wordOf(first) + COUNTER_WORD;
    words[word] = counter[0]!;
    words[word + 1] = counter[1]!;
    counter[0]!++;
    if (counter[0] === 0) counter[1]!++;
    units[unitOf(first) + LAST_UNIT] = last;
    units[unitOf(first) + NUM_UNIT] = slots;
    this.#bytes[byteOf(first)] = 1;
    this.#entryOf[id] = first;
    units[FREE_HEAD_UNIT] = entry;
    Atomics.store(units, OLD_FREE_HEAD_UNIT, entry);
  }

  /** The list is marked as used in the ring, but the driver does not see that yet: it becomes part of a batch. */
  give(id: number): void {
    this.#batch[this.#batchSize++] = this.#entryOf[id]!;
  }

  /** The driver is about to see the batch, after which `used` descriptors are used. */
  prepare(used: number): void {
    const units = this.#units;
    let free = units[FREE_HEAD_UNIT]!;
    for (let i = 0; i < this.#batchSize; i++) {
      const first = this.#batch[i]!;
      units[unitOf(units[unitOf(first) + LAST_UNIT]!) + NEXT_UNIT] = free;
      free = first;
    }
    units[FREE_HEAD_UNIT] = free;
    units[USED_UNIT] = used;
  }

  /** The flags by which the driver sees the batch were stored with Atomics. */
  settle(): void {
    const units = this.#units;
    for (let i = 0; i < this.#batchSize; i++) this.#bytes[byteOf(this.#batch[i]!)] = 0;
    this.#batchSize = 0;
    units[OLD_FREE_HEAD_UNIT] = units[FREE_HEAD_UNIT]!;
    Atomics.store(units, OLD_USED_UNIT, units[USED_UNIT]!);
  }

  /**
   * Finds what a predecessor had in flight when it ended, wherever that was. `isWithDevice` says whether the
   * descriptor at a place in the ring (index, wrap counter as bit 15) has the flags of an available one. Throws
   * `virtio.bad-inflight-log` when it cannot be the log of this ring, and has then changed nothing. Can itself be
   * interrupted and repeated.
   */
  recover(isWithDevice: (place: number) => boolean): InheritedPacked {
    const units = this.#units;
    checkInFlightHeader(units, this.#num);
    const before = units[OLD_USED_UNIT]!;
    const isSeen = units[USED_UNIT] !== before && !isWithDevice(before);
    const used = isSeen ? units[USED_UNIT]! : before;
    const freeHead = units[isSeen ? FREE_HEAD_UNIT : OLD_FREE_HEAD_UNIT]!;
    if ((used & 0x7fff) >= this.#num) throw badInFlightLog('Its used index is not in the ring.');
    const taken = new Set<number>();
    this.#claim(freeHead, this.#num, taken);
    const free = [...taken];
    const firsts = Array.from({ length: this.#num }, (_, entry) => entry).filter(
      (entry) => this.#bytes[byteOf(entry)] !== 0 && !taken.has(entry),
    );
    firsts.sort((a, b) => this.#compareAge(a, b));
    const lists = firsts.map((first) => this.#list(first, taken));
    if (taken.size !== this.#num) throw badInFlightLog('Some of its entries are neither free nor in flight.');
    if (new Set(lists.map(({ id }) => id)).size !== lists.length)
      throw badInFlightLog('It has the same buffer twice.');
    for (const entry of free) this.#bytes[byteOf(entry)] = 0;
    units[FREE_HEAD_UNIT] = freeHead;
    units[USED_UNIT] = used;
    Atomics.store(units, OLD_FREE_HEAD_UNIT, freeHead);
    Atomics.store(units, OLD_USED_UNIT, used);
    lists.forEach(({ id }, i) => {
      this.#entryOf[id] = firsts[i]!;
    });
    this.#continueAfter(firsts.at(-1));
    return { used, lists };
  }

  /** The list that begins at an entry; its entries become `taken`. */
  #list(first: number, taken: Set<number>): InheritedList {
    const slots = this.#units[unitOf(first) + NUM_UNIT]!;
    const entries = this.#claim(first, slots, taken);
    const last = entries.at(-1);
    if (entries.length !== slots || last === undefined || last !== this.#units[unitOf(first) + LAST_UNIT])
      throw badInFlightLog('A list of descriptors in it has no end.');
    const descriptors = new Uint32Array(slots * VIRTQ_DESC_WORDS);
    entries.forEach((entry, slot) => {
      const from = wordOf(entry);
      const words = this.#words.subarray(from, from + ENTRY_BYTES / 4);
      descriptors.set(
        [words[ADDR_WORD]!, words[ADDR_WORD + 1]!, words[LEN_WORD]!, words[ID_AND_FLAGS_WORD]!],
        slot * VIRTQ_DESC_WORDS,
      );
    });
    const id = descriptors.at(-1)! & 0xffff;
    if (id >= this.#num) throw badInFlightLog(`It has buffer ${id} in a ring of ${this.#num}.`);
    return { id, slots, descriptors };
  }

  /** At most `count` entries that follow each other from `entry` on; each can be claimed once. */
  #claim(entry: number, count: number, taken: Set<number>): number[] {
    const entries: number[] = [];
    for (
      let at = entry;
      at < this.#num && entries.length < count;
      at = this.#units[unitOf(at) + NEXT_UNIT]!
    ) {
      if (taken.has(at)) throw badInFlightLog('Its entries are not lists.');
      taken.add(at);
      entries.push(at);
    }
    return entries;
  }

  #compareAge(a: number, b: number): number {
    const words = this.#words;
    const first = wordOf(a) + COUNTER_WORD;
    const second = wordOf(b) + COUNTER_WORD;
    return words[first + 1]! - words[second + 1]! || words[first]! - words[second]!;
  }

  #continueAfter(youngest: number | undefined): void {
    if (youngest === undefined) return;
    const word = wordOf(youngest) + COUNTER_WORD;
    this.#counter[0] = this.#words[word]! + 1;
    this.#counter[1] = this.#words[word + 1]! + (this.#counter[0] === 0 ? 1 : 0);
  }
}

const byteOf = (entry: number): number => HEADER_BYTES + entry * ENTRY_BYTES;
const unitOf = (entry: number): number => (HEADER_BYTES + entry * ENTRY_BYTES) / 2;
const wordOf = (entry: number): number => (HEADER_BYTES + entry * ENTRY_BYTES) / 4;
