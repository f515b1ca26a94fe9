// hot path: see ARCHITECTURE.md "Data plane"

import {
  AVAIL_FLAGS,
  AVAIL_IDX,
  AVAIL_RING,
  availEventIndex,
  availRingBytes,
  USED_FLAGS,
  USED_IDX,
  USED_RING_WORD,
  usedEventIndex,
  usedRingBytes,
  VIRTQ_AVAIL_ALIGN,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_ALIGN,
  VIRTQ_DESC_SIZE,
  VIRTQ_DESC_WORDS,
  VIRTQ_USED_ALIGN,
  VIRTQ_USED_F_NO_NOTIFY,
} from '../abi/virtio-ring.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Access } from '../memory/mapping.ts';
import type { Chain } from './chain.ts';
import { isInFlightLogInUse } from './inflight.ts';
import { SplitInFlightLog } from './inflight-split.ts';
import { needEvent } from './notify.ts';
import { checkSplitSize, ringPart } from './ring-part.ts';
import type { SplitState } from './ring-state.ts';
import { SplitWalk } from './split-walk.ts';
import { POP_BROKEN, POP_EMPTY, type RingFeatures, type RingGeometry, type Virtqueue } from './virtqueue.ts';

/**
 * A split virtqueue (VIRTIO 1.3, 2.7), device side, working on the rings in place. The host is little-endian, as the
 * rings are.
 *
 * Indices that both sides watch go through Atomics: `Atomics.store` is a full barrier on every platform of V8, also
 * on memory that is not shared between threads of this process, and the protocol needs one between publishing an
 * index and reading what the other side wants.
 */
export class SplitVirtqueue implements Virtqueue {
  readonly num: number;
  readonly #mask: number;
  readonly #eventIdx: boolean;
  readonly #avail: Uint16Array;
  readonly #used: Uint16Array;
  readonly #usedElements: Uint32Array;
  readonly #usedEvent: number;
  readonly #availEvent: number;
  readonly #walk: SplitWalk;
  readonly #log: SplitInFlightLog | undefined;
  /** Heads that a predecessor had in flight, youngest first: the last is taken next. */
  #inherited: number[] = [];
  /** Index of the available ring that `pop` takes next. */
  #lastAvail: number;
  /** The driver's index when it was last looked at. */
  #seenAvail: number;
  #usedIdx: number;
  /** Used index when an interrupt was last considered; -1 before the first time, when one is always due. */
  #consideredUsed = -1;
  #brokenReason: string | undefined;

  /**
   * `log`: memory that outlives the process. One that is in use is a predecessor's, and says where to go on and what
   * to take once more. Throws `virtio.bad-ring` when a part is unmapped, misaligned or of an impossible size, and
   * `virtio.bad-inflight-log`.
   */
  constructor(
    ring: RingGeometry<SplitState>,
    memory: GuestMemory,
    { eventIdx, indirect }: RingFeatures,
    log?: Uint8Array,
  ) {
    const { num } = ring;
    checkSplitSize(num);
    const descBytes = num * VIRTQ_DESC_SIZE;
    const availBytes = availRingBytes(num, eventIdx);
    const usedBytes = usedRingBytes(num, eventIdx);
    const desc = ringPart(
      memory,
      'descriptor table',
      ring.descAddr,
      descBytes,
      VIRTQ_DESC_ALIGN,
      Access.READ,
    );
    const avail = ringPart(
      memory,
      'available ring',
      ring.driverAddr,
      availBytes,
      VIRTQ_AVAIL_ALIGN,
      Access.READ,
    );
    const used = ringPart(
      memory,
      'used ring',
      ring.deviceAddr,
      usedBytes,
      VIRTQ_USED_ALIGN,
      Access.READ_WRITE,
    );
    this.num = num;
    this.#mask = num - 1;
    this.#eventIdx = eventIdx;
    this.#avail = new Uint16Array(avail.buffer, avail.offset, availBytes / 2);
    this.#used = new Uint16Array(used.buffer, used.offset, usedBytes / 2);
    this.#usedElements = new Uint32Array(used.buffer, used.offset, USED_RING_WORD + 2 * num);
    this.#usedEvent = usedEventIndex(num);
    this.#availEvent = availEventIndex(num);
    const table = new Uint32Array(desc.buffer, desc.offset, num * VIRTQ_DESC_WORDS);
    this.#walk = new SplitWalk(num, table, memory, indirect);
    this.#lastAvail = ring.state.availIndex & 0xffff;
    this.#usedIdx = Atomics.load(this.#used, USED_IDX);
    this.#log = log && new SplitInFlightLog(log, num);
    if (log && isInFlightLogInUse(log)) this.#inherit();
    else this.#log?.start(this.#usedIdx);
    this.#seenAvail = this.#lastAvail;
    if (eventIdx) Atomics.store(this.#used, USED_FLAGS, 0);
  }

  get state(): SplitState {
    return { layout: 'split', availIndex: this.#lastAvail };
  }

  get brokenReason(): string | undefined {
    return this.#brokenReason;
  }

  get inherited(): number {
    return this.#inherited.length;
  }

  pop(chain: Chain): number {
    if (this.#inherited.length > 0) return this.#popInherited(chain);
    if (this.#lastAvail === this.#seenAvail && !this.#lookAtAvail())
      return this.#brokenReason === undefined ? POP_EMPTY : POP_BROKEN;
    const head = this.#avail[AVAIL_RING + (this.#lastAvail & this.#mask)]!;
    if (head >= this.num) {
      this.#brokenReason = `the available ring names descriptor ${head} of a table of ${this.num}`;
      return POP_BROKEN;
    }
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    this.#log?.take(head);
    this.#walk.follow(head, chain);
    return head;
  }

  hasAvailable(): boolean {
    return Atomics.load(this.#avail, AVAIL_IDX) !== this.#lastAvail;
  }

  push(head: number, written: number): void {
    const word = USED_RING_WORD + 2 * (this.#usedIdx & this.#mask);
    this.#usedElements[word] = head;
    this.#usedElements[word + 1] = written;
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    this.#log?.give(head);
  }

  publish(): void {
    Atomics.store(this.#used, USED_IDX, this.#usedIdx);
    this.#log?.settle(this.#usedIdx);
  }

  needsInterrupt(): boolean {
    const old = this.#consideredUsed;
    const next = this.#usedIdx;
    if (old === next) return false;
    this.#consideredUsed = next;
    if (old === -1) return true;
    if (this.#eventIdx) return needEvent(Atomics.load(this.#avail, this.#usedEvent), next, old);
    return (Atomics.load(this.#avail, AVAIL_FLAGS) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
  }

  /** With EVENT_IDX there is nothing to do: the event index that is left behind asks for no notification. */
  disableKicks(): void {
    if (!this.#eventIdx) Atomics.store(this.#used, USED_FLAGS, VIRTQ_USED_F_NO_NOTIFY);
  }

  enableKicks(): boolean {
    if (this.#eventIdx) Atomics.store(this.#used, this.#availEvent, this.#lastAvail);
    else Atomics.store(this.#used, USED_FLAGS, 0);
    // The store above is also the barrier: a chain the driver added without a kick is seen here, or it saw the store.
    return Atomics.load(this.#avail, AVAIL_IDX) !== this.#lastAvail;
  }

  /** What was taken and not given back lies between the used index and the next available one, in any order. */
  #inherit(): void {
    const heads = this.#log!.recover(this.#usedIdx, Atomics.load(this.#avail, AVAIL_IDX));
    this.#lastAvail = (this.#usedIdx + heads.length) & 0xffff;
    this.#inherited = heads.reverse();
  }

  /** The driver leaves the descriptors of a chain alone until it gets it back, so they are all still there. */
  #popInherited(chain: Chain): number {
    const head = this.#inherited.pop()!;
    this.#walk.follow(head, chain);
    return head;
  }

  /** Reads the driver's index. False: nothing new, or the index is one that no driver can have reached. */
  #lookAtAvail(): boolean {
    const seen = Atomics.load(this.#avail, AVAIL_IDX);
    const pending = (seen - this.#lastAvail) & 0xffff;
    if (pending > this.num) {
      this.#brokenReason = `the available index went from ${this.#lastAvail} to ${seen}, more than the ${this.num} entries of the queue`;
      return false;
    }
    this.#seenAvail = seen;
    return pending !== 0;
  }
}
