// hot path: see ARCHITECTURE.md "Data plane"

import {
  PACKED_DESC_F_AVAIL,
  PACKED_DESC_F_USED,
  PACKED_DESC_FLAGS,
  PACKED_DESC_ID,
  PACKED_DESC_UNITS,
  PACKED_EVENT_ALIGN,
  PACKED_EVENT_FLAGS_SHIFT,
  PACKED_EVENT_SIZE,
  PACKED_EVENT_WRAP_SHIFT,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_ALIGN,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_DESC_SIZE,
  VIRTQ_DESC_WORDS,
} from '../abi/virtio-ring.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Access } from '../memory/mapping.ts';
import type { Chain } from './chain.ts';
import { isInFlightLogInUse } from './inflight.ts';
import { type InheritedList, PackedInFlightLog } from './inflight-packed.ts';
import { PACKED_TURN, PackedWalk } from './packed-walk.ts';
import { badRing, checkPackedSize, ringPart } from './ring-part.ts';
import type { PackedState } from './ring-state.ts';
import { POP_BROKEN, POP_EMPTY, type RingFeatures, type RingGeometry, type Virtqueue } from './virtqueue.ts';

const EVENT_OFFSET_MASK = (1 << PACKED_EVENT_WRAP_SHIFT) - 1;
const EVENT_FLAGS_MASK = 3;

/**
 * A packed virtqueue (VIRTIO 1.3, 2.8), device side, working on the ring in place. Driver and device write descriptors
 * into one ring, in laps; the AVAIL and USED flags of a descriptor say who wrote it, and in which lap. What is said of
 * byte order and Atomics at `SplitVirtqueue` holds here too.
 */
export class PackedVirtqueue implements Virtqueue {
  readonly num: number;
  readonly #eventIdx: boolean;
  /** The ring, as 16-bit units and as 32-bit words. */
  readonly #units: Uint16Array;
  readonly #words: Uint32Array;
  readonly #driverEvent: Uint32Array;
  readonly #deviceEvent: Uint32Array;
  readonly #walk: PackedWalk;
  readonly #log: PackedInFlightLog | undefined;
  /** What a predecessor had in flight, youngest first: the last is taken next. */
  #inherited: InheritedList[] = [];
  /** By buffer id: descriptors of the list in flight, 0 when there is none. */
  readonly #slots: Uint16Array;
  /** Descriptors taken that the driver has not got back, and how many of them it gets with the next batch. */
  #held: number;
  #pushed = 0;
  /** Descriptor that `pop` looks at next, and the AVAIL and USED flags it has once it is available. */
  #availIndex: number;
  #availTurn: number;
  /** Descriptor that `push` writes next, and the AVAIL and USED flags it gets. */
  #usedIndex: number;
  #usedTurn: number;
  /** First of the used descriptors that are not published, and its flags; -1 when there is none. */
  #firstPushed = -1;
  #firstFlags = 0;
  /** Descriptors given back since an interrupt was last considered. */
  #unconsidered = 0;
  /** The first interrupt is always due: the driver may still wait for one of a predecessor's. */
  #interruptOwed = true;
  #brokenReason: string | undefined;

  /** `log` and what is thrown: as for `SplitVirtqueue`. */
  constructor(
    ring: RingGeometry<PackedState>,
    memory: GuestMemory,
    { eventIdx, indirect }: RingFeatures,
    log?: Uint8Array,
  ) {
    const { num } = ring;
    checkPackedSize(num);
    const bytes = num * VIRTQ_DESC_SIZE;
    const desc = ringPart(
      memory,
      'descriptor ring',
      ring.descAddr,
      bytes,
      VIRTQ_DESC_ALIGN,
      Access.READ_WRITE,
    );
    const event = (name: string, iova: number, access: number): Uint32Array => {
      const part = ringPart(memory, name, iova, PACKED_EVENT_SIZE, PACKED_EVENT_ALIGN, access);
      return new Uint32Array(part.buffer, part.offset, 1);
    };
    this.num = num;
    this.#eventIdx = eventIdx;
    this.#units = new Uint16Array(desc.buffer, desc.offset, bytes / 2);
    this.#words = new Uint32Array(desc.buffer, desc.offset, bytes / 4);
    this.#driverEvent = event("driver's event suppression", ring.driverAddr, Access.READ);
    this.#deviceEvent = event("device's event suppression", ring.deviceAddr, Access.WRITE);
    this.#walk = new PackedWalk(num, this.#words, memory, indirect);
    this.#slots = new Uint16Array(num);
    const { avail, used } = ring.state;
    this.#held = distance(num, ring.state);
    this.#availIndex = avail.index;
    this.#availTurn = avail.wrap === 1 ? PACKED_DESC_F_AVAIL : PACKED_DESC_F_USED;
    this.#usedIndex = used.index;
    this.#usedTurn = used.wrap === 1 ? PACKED_TURN : 0;
    this.#log = log && new PackedInFlightLog(log, num);
    if (log && isInFlightLogInUse(log)) this.#inherit();
    else this.#log?.start(this.#usedPlace());
  }

  get state(): PackedState {
    return {
      layout: 'packed',
      avail: { index: this.#availIndex, wrap: wrapOfAvail(this.#availTurn) },
      used: { index: this.#usedIndex, wrap: wrapOfUsed(this.#usedTurn) },
    };
  }

  get brokenReason(): string | undefined {
    return this.#brokenReason;
  }

  get inherited(): number {
    return this.#inherited.length;
  }

  pop(chain: Chain): number {
    if (this.#inherited.length > 0) return this.#popInherited(chain);
    if (this.#brokenReason !== undefined) return POP_BROKEN;
    if (!this.#isAvailable()) return POP_EMPTY;
    const walk = this.#walk;
    this.#brokenReason =
      walk.take(this.#availIndex, this.#availTurn, this.num - this.#held) ?? this.#idProblem(walk.id);
    if (this.#brokenReason !== undefined) return POP_BROKEN;
    const { id, slots } = walk;
    this.#slots[id] = slots;
    this.#held += slots;
    this.#availIndex += slots;
    if (this.#availIndex >= this.num) {
      this.#availIndex -= this.num;
      this.#availTurn ^= PACKED_TURN;
    }
    this.#log?.take(id, slots, walk.taken);
    walk.follow(chain);
    return id;
  }

  hasAvailable(): boolean {
    return this.#isAvailable();
  }

  /** The driver looks at used descriptors one after the other, so the rest of a batch may precede its first. */
  push(head: number, written: number): void {
    const index = this.#usedIndex;
    const word = index * VIRTQ_DESC_WORDS;
    const flags = written > 0 ? this.#usedTurn | VIRTQ_DESC_F_WRITE : this.#usedTurn;
    this.#words[word + 2] = written;
    if (this.#firstPushed < 0) {
      this.#firstPushed = index;
      this.#firstFlags = flags;
      this.#units[index * PACKED_DESC_UNITS + PACKED_DESC_ID] = head;
    } else {
      this.#words[word + 3] = head | (flags << 16);
    }
    const slots = this.#slots[head]!;
    this.#slots[head] = 0;
    this.#pushed += slots;
    this.#unconsidered += slots;
    this.#usedIndex += slots;
    if (this.#usedIndex >= this.num) {
      this.#usedIndex -= this.num;
      this.#usedTurn ^= PACKED_TURN;
    }
    this.#log?.give(head);
  }

  publish(): void {
    if (this.#firstPushed < 0) return;
    this.#log?.prepare(this.#usedPlace());
    Atomics.store(this.#units, this.#firstPushed * PACKED_DESC_UNITS + PACKED_DESC_FLAGS, this.#firstFlags);
    this.#log?.settle();
    this.#firstPushed = -1;
    this.#held -= this.#pushed;
    this.#pushed = 0;
  }

  needsInterrupt(): boolean {
    const passed = this.#unconsidered;
    if (passed === 0) return false;
    this.#unconsidered = 0;
    if (this.#interruptOwed) {
      this.#interruptOwed = false;
      return true;
    }
    const event = Atomics.load(this.#driverEvent, 0);
    const flags = (event >>> PACKED_EVENT_FLAGS_SHIFT) & EVENT_FLAGS_MASK;
    if (flags === RING_EVENT_FLAGS_DISABLE) return false;
    if (flags !== RING_EVENT_FLAGS_DESC || !this.#eventIdx) return true;
    const sameLap = ((event >>> PACKED_EVENT_WRAP_SHIFT) & 1) === wrapOfUsed(this.#usedTurn);
    const behind = this.#usedIndex + (sameLap ? 0 : this.num) - (event & EVENT_OFFSET_MASK);
    return behind > 0 && behind <= passed;
  }

  disableKicks(): void {
    Atomics.store(this.#deviceEvent, 0, RING_EVENT_FLAGS_DISABLE << PACKED_EVENT_FLAGS_SHIFT);
  }

  enableKicks(): boolean {
    const event = this.#eventIdx
      ? this.#availIndex |
        (wrapOfAvail(this.#availTurn) << PACKED_EVENT_WRAP_SHIFT) |
        (RING_EVENT_FLAGS_DESC << PACKED_EVENT_FLAGS_SHIFT)
      : RING_EVENT_FLAGS_ENABLE << PACKED_EVENT_FLAGS_SHIFT;
    // The store is also the barrier: a list the driver added without a kick is seen here, or it saw the store.
    Atomics.store(this.#deviceEvent, 0, event);
    return this.#isAvailable();
  }

  /** What was taken and not given back lies between the used and the next available descriptor, in any order. */
  #inherit(): void {
    const { used, lists } = this.#log!.recover((place) => this.#isWithDevice(place));
    this.#usedIndex = used & EVENT_OFFSET_MASK;
    this.#usedTurn = used >>> PACKED_EVENT_WRAP_SHIFT === 1 ? PACKED_TURN : 0;
    this.#availIndex = this.#usedIndex;
    this.#availTurn = this.#usedTurn === PACKED_TURN ? PACKED_DESC_F_AVAIL : PACKED_DESC_F_USED;
    this.#held = 0;
    for (const { id, slots } of lists) {
      this.#slots[id] = slots;
      this.#held += slots;
    }
    for (let slot = 0; slot < this.#held; slot++) this.#takeBack();
    this.#inherited = lists.toReversed();
  }

  /**
   * Moves past the next available descriptor, a predecessor's. It may be marked as used already, as part of a batch
   * that the driver never saw: it must not see the mark when it comes by after another batch.
   */
  #takeBack(): void {
    const unit = this.#availIndex * PACKED_DESC_UNITS + PACKED_DESC_FLAGS;
    this.#units[unit] = (this.#units[unit]! & ~PACKED_TURN) | this.#availTurn;
    this.#availIndex++;
    if (this.#availIndex < this.num) return;
    this.#availIndex = 0;
    this.#availTurn ^= PACKED_TURN;
  }

  #popInherited(chain: Chain): number {
    const list = this.#inherited.pop()!;
    this.#walk.restore(list);
    this.#walk.follow(chain);
    return list.id;
  }

  #isWithDevice(place: number): boolean {
    const flags = Atomics.load(
      this.#units,
      (place & EVENT_OFFSET_MASK) * PACKED_DESC_UNITS + PACKED_DESC_FLAGS,
    );
    return (
      (flags & PACKED_TURN) ===
      (place >>> PACKED_EVENT_WRAP_SHIFT === 1 ? PACKED_DESC_F_AVAIL : PACKED_DESC_F_USED)
    );
  }

  /** The used index, with the wrap counter as bit 15. */
  #usedPlace(): number {
    return this.#usedIndex | (wrapOfUsed(this.#usedTurn) << PACKED_EVENT_WRAP_SHIFT);
  }

  #isAvailable(): boolean {
    const flags = Atomics.load(this.#units, this.#availIndex * PACKED_DESC_UNITS + PACKED_DESC_FLAGS);
    return (flags & PACKED_TURN) === this.#availTurn;
  }

  #idProblem(id: number): string | undefined {
    if (id >= this.num) return `a list has buffer id ${id} in a ring of ${this.num}`;
    if (this.#slots[id] !== 0) return `a list has buffer id ${id}, whose request is in flight`;
    return undefined;
  }
}

const wrapOfAvail = (turn: number): 0 | 1 => (turn === PACKED_DESC_F_AVAIL ? 1 : 0);
const wrapOfUsed = (turn: number): 0 | 1 => (turn === PACKED_TURN ? 1 : 0);

/** Descriptors from the used position to the available one. Throws `virtio.bad-ring` when that cannot be. */
function distance(num: number, { avail, used }: PackedState): number {
  const held = avail.index - used.index + (avail.wrap === used.wrap ? 0 : num);
  if (avail.index >= num || used.index >= num || held < 0 || held > num) {
    const at = ({ index, wrap }: PackedState['avail']): string => `${index} (wrap counter ${wrap})`;
    throw badRing(
      `A ring of ${num} entries cannot stand at ${at(avail)} for available and ${at(used)} for used descriptors.`,
    );
  }
  return held;
}
