// hot path: see ARCHITECTURE.md "Data plane"

import {
  badInFlightLog,
  checkInFlightHeader,
  INFLIGHT_DESC_NUM_UNIT,
  INFLIGHT_VERSION,
  INFLIGHT_VERSION_UNIT,
} from './inflight.ts';

/** `QueueRegionSplit` of vhost-user: features u64, version u16, desc_num u16, last_batch_head u16, used_idx u16. */
const HEADER_BYTES = 16;
const LAST_BATCH_HEAD_UNIT = 6;
const USED_IDX_UNIT = 7;
/** `DescStateSplit`, one for each descriptor: inflight u8, padding, next u16 at 6, counter u64 at 8. */
const ENTRY_BYTES = 16;
const NEXT_UNIT = 3;
const COUNTER_WORD = 2;
const IDX_MASK = 0xffff;

/**
 * The log of a split virtqueue: which heads are in flight, and in which order they were taken.
 *
 * The process can be killed between any two stores, so their order is all that counts. Kill it at any place, and
 * either the driver has not seen a completion and the head is in flight here, or it has, and `recover` finds out by
 * comparing the used index of the ring with the one noted here. A store that decides goes through Atomics: the
 * compiler may exchange plain ones with each other, but none with those. What the processor does is of no concern,
 * because a process that dies has carried out its stores in order.
 */
export class SplitInFlightLog {
  readonly #num: number;
  readonly #bytes: Uint8Array;
  readonly #units: Uint16Array;
  readonly #words: Uint32Array;
  /** Counter of the next head, low and high half. */
  readonly #counter = new Uint32Array(2);
  /** Heads given back since the last `settle`. */
  #batch = 0;

  /** `memory`: 8-byte aligned. Throws `virtio.bad-inflight-log` when it is too small for `num` entries. */
  constructor(memory: Uint8Array, num: number) {
    const bytes = HEADER_BYTES + ENTRY_BYTES * num;
    if (memory.length < bytes) throw badInFlightLog(`It has no room for a virtqueue of ${num} entries.`);
    this.#num = num;
    this.#bytes = new Uint8Array(memory.buffer, memory.byteOffset, bytes);
    this.#units = new Uint16Array(memory.buffer, memory.byteOffset, bytes / 2);
    this.#words = new Uint32Array(memory.buffer, memory.byteOffset, bytes / 4);
  }

  /** Takes a log into use that is all zero. `usedIdx`: the used index of the ring. */
  start(usedIdx: number): void {
    this.#units[INFLIGHT_DESC_NUM_UNIT] = this.#num;
    this.#units[USED_IDX_UNIT] = usedIdx;
    Atomics.store(this.#units, INFLIGHT_VERSION_UNIT, INFLIGHT_VERSION);
  }

  /** `head` is about to be carried out. */
  take(head: number): void {
    const at = HEADER_BYTES + head * ENTRY_BYTES;
    const word = (at >>> 2) + COUNTER_WORD;
    const counter = this.#counter;
    this.#words[word] = counter[0]!;
    this.#words[word + 1] = counter[1]!;
    counter[0]!++;
    if (counter[0] === 0) counter[1]!++;
    Atomics.store(this.#bytes, at, 1);
  }

  /** `head` is in the used ring, but the used index does not say so yet: it becomes part of a batch. */
  give(head: number): void {
    const units = this.#units;
    units[(HEADER_BYTES + head * ENTRY_BYTES) / 2 + NEXT_UNIT] = units[LAST_BATCH_HEAD_UNIT]!;
    units[LAST_BATCH_HEAD_UNIT] = head;
    this.#batch++;
  }

  /** The used index, now `usedIdx`, was stored with Atomics: the driver can see the batch. */
  settle(usedIdx: number): void {
    const units = this.#units;
    let head = units[LAST_BATCH_HEAD_UNIT]!;
    for (; this.#batch > 0; this.#batch--) {
      const at = HEADER_BYTES + head * ENTRY_BYTES;
      this.#bytes[at] = 0;
      head = units[at / 2 + NEXT_UNIT]!;
    }
    Atomics.store(units, USED_IDX_UNIT, usedIdx);
  }

  /**
   * Finds what a predecessor had in flight when it ended, wherever that was: the heads, oldest first. Throws
   * `virtio.bad-inflight-log` when it cannot be the log of this ring, and has then changed nothing. Can itself be
   * interrupted and repeated.
   */
  recover(usedIdx: number, availIdx: number): number[] {
    checkInFlightHeader(this.#units, this.#num);
    const settled = this.#lastBatch(usedIdx);
    const heads: number[] = [];
    for (let head = 0; head < this.#num; head++) {
      if (this.#bytes[HEADER_BYTES + head * ENTRY_BYTES] !== 0 && !settled.has(head)) heads.push(head);
    }
    const outstanding = (availIdx - usedIdx) & IDX_MASK;
    if (heads.length > outstanding)
      throw badInFlightLog(`It lists ${heads.length} requests, and the driver waits for ${outstanding}.`);
    for (const head of settled) this.#bytes[HEADER_BYTES + head * ENTRY_BYTES] = 0;
    Atomics.store(this.#units, USED_IDX_UNIT, usedIdx);
    heads.sort((a, b) => this.#compareAge(a, b));
    this.#continueAfter(heads.at(-1));
    return heads;
  }

  /** What the driver has seen although it may still be marked: the batch at whose publication the process ended. */
  #lastBatch(usedIdx: number): Set<number> {
    const size = (usedIdx - this.#units[USED_IDX_UNIT]!) & IDX_MASK;
    if (size > this.#num) throw badInFlightLog('The used index of the ring is not where the log left it.');
    const batch = new Set<number>();
    let head = this.#units[LAST_BATCH_HEAD_UNIT]!;
    for (let i = 0; i < size; i++) {
      if (head >= this.#num || batch.has(head))
        throw badInFlightLog('The batch that was given back last is not a list.');
      batch.add(head);
      head = this.#units[(HEADER_BYTES + head * ENTRY_BYTES) / 2 + NEXT_UNIT]!;
    }
    return batch;
  }

  #compareAge(a: number, b: number): number {
    const first = this.#counterWord(a);
    const second = this.#counterWord(b);
    const words = this.#words;
    return words[first + 1]! - words[second + 1]! || words[first]! - words[second]!;
  }

  #continueAfter(youngest: number | undefined): void {
    if (youngest === undefined) return;
    const word = this.#counterWord(youngest);
    this.#counter[0] = this.#words[word]! + 1;
    this.#counter[1] = this.#words[word + 1]! + (this.#counter[0] === 0 ? 1 : 0);
  }

  #counterWord(head: number): number {
    return (HEADER_BYTES + head * ENTRY_BYTES) / 4 + COUNTER_WORD;
  }
}
