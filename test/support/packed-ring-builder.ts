import { needEvent } from '../../frontends/virtio/virtq/notify.ts';
import type { PackedPosition, PackedState } from '../../frontends/virtio/virtq/ring-state.ts';
import type { RingGeometry } from '../../frontends/virtio/virtq/virtqueue.ts';
import {
  type Descriptor,
  DriverRing,
  INDIRECT,
  NEXT,
  pageAligned,
  type Range,
  type RingBuilderOptions,
  takeFree,
  type UsedChain,
  WRITE,
} from './driver-ring.ts';

const AVAIL = 0x80;
const USED = 0x8000;
const ENABLE = 0;
const DISABLE = 1;
const DESC = 2;
const PAGE = 4096;

/** A place in the ring; moves in laps. */
class Cursor {
  index: number;
  wrap: 0 | 1;
  readonly #num: number;

  constructor(num: number, position: PackedPosition) {
    this.#num = num;
    this.index = position.index;
    this.wrap = position.wrap;
  }

  advance(count: number): void {
    this.index += count;
    if (this.index < this.#num) return;
    this.index -= this.#num;
    this.wrap = this.wrap === 1 ? 0 : 1;
  }

  get offWrap(): number {
    return this.index | (this.wrap << 15);
  }
}

/** A packed virtqueue. Buffer ids are handed out in an order of their own, so that none can pass for an index. */
export class PackedRingBuilder extends DriverRing {
  readonly geometry: RingGeometry<PackedState>;
  readonly parts: readonly Range[];
  readonly #driverEvent: number;
  readonly #deviceEvent: number;
  readonly #avail: Cursor;
  readonly #used: Cursor;
  #freeSlots: number;
  /** Descriptors made available since a kick was last considered. */
  #unkicked = 0;
  #taken = 0;
  readonly #freeIds: number[];
  /** Buffer id → descriptors of the ring it occupies. */
  readonly #outstanding = new Map<number, number>();

  constructor(options: RingBuilderOptions = {}) {
    super(options, (num) => pageAligned(16 * num) + 2 * PAGE);
    const { num, base } = this;
    const { index = 0 } = options;
    this.#driverEvent = pageAligned(16 * num);
    this.#deviceEvent = this.#driverEvent + PAGE;
    const position: PackedPosition = { index: index % num, wrap: Math.floor(index / num) % 2 === 0 ? 1 : 0 };
    this.#avail = new Cursor(num, position);
    this.#used = new Cursor(num, position);
    this.#freeSlots = num;
    // A prime above every size: each id once, in no order that means anything.
    this.#freeIds = Array.from({ length: num }, (_, i) => (i * 49_999 + 3) % num);
    // What earlier laps have left: used descriptors of this lap before the position, of the last one after it.
    for (let slot = 0; slot < num; slot++) {
      const wrap = slot < position.index ? position.wrap : 1 - position.wrap;
      this.setFlags(slot, wrap === 1 ? AVAIL | USED : 0);
    }
    this.geometry = {
      num,
      descAddr: base,
      driverAddr: base + this.#driverEvent,
      deviceAddr: base + this.#deviceEvent,
      state: { layout: 'packed', avail: position, used: position },
    };
    const { driverAddr, deviceAddr } = this.geometry;
    this.parts = [
      { start: base, last: base + 16 * num - 1 },
      { start: driverAddr, last: driverAddr + 3 },
      { start: deviceAddr, last: deviceAddr + 3 },
    ];
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get freeDescriptors(): number {
    return this.#freeSlots;
  }

  get published(): number {
    return this.#taken + this.untakenHeads.length;
  }

  untakenIn(memory: Uint8Array): number[] {
    const view = new DataView(memory.buffer, memory.byteOffset);
    const cursor = new Cursor(this.num, this.#used);
    const heads: number[] = [];
    while (heads.length < this.#outstanding.size && isUsedIn(view, cursor)) {
      const head = view.getUint16(16 * cursor.index + 12, true);
      heads.push(head);
      cursor.advance(this.#outstanding.get(head) ?? 1);
    }
    return heads;
  }

  /** Where the driver puts its next list. */
  get next(): PackedPosition {
    return { index: this.#avail.index, wrap: this.#avail.wrap };
  }

  add(chain: readonly Descriptor[]): number {
    if (chain.length > this.#freeSlots) throw new Error('the ring builder is out of descriptors');
    const [id] = takeFree(this.#freeIds, 1) as [number];
    this.#freeSlots -= chain.length;
    this.#outstanding.set(id, chain.length);
    this.addRaw(id, chain);
    return id;
  }

  /** Makes a list available under any id, valid or not, without book-keeping; the first descriptor's flags last. */
  addRaw(id: number, chain: readonly Descriptor[]): void {
    const { index } = this.#avail;
    let first = 0;
    chain.forEach((descriptor, i) => {
      const flags =
        (this.#avail.wrap === 1 ? AVAIL : USED) |
        (descriptor.writable ? WRITE : 0) |
        (i < chain.length - 1 ? NEXT : 0) |
        (descriptor.flags ?? 0);
      const slot = this.#avail.index;
      this.writeElement(this.view, 16 * slot, descriptor);
      // The id of all but the last is anything.
      this.view.setUint16(16 * slot + 12, i === chain.length - 1 ? id : 0xffff - i, true);
      if (i === 0) first = flags;
      else this.setFlags(slot, flags);
      this.#avail.advance(1);
    });
    this.setFlags(index, first);
    this.#unkicked += chain.length;
  }

  writeTable(chain: readonly Descriptor[]): Descriptor {
    const addr = this.allocate(16 * chain.length);
    const table = this.viewAt(addr, 16 * chain.length);
    chain.forEach((descriptor, i) => {
      this.writeElement(table, 16 * i, descriptor);
      table.setUint16(16 * i + 14, (descriptor.writable ? WRITE : 0) | (descriptor.flags ?? 0), true);
    });
    return { addr, len: 16 * chain.length, flags: INDIRECT };
  }

  setFlags(slot: number, flags: number): void {
    this.view.setUint16(16 * slot + 14, flags, true);
  }

  needsKick(): boolean {
    const added = this.#unkicked;
    this.#unkicked = 0;
    if (added === 0) return false;
    const flags = this.view.getUint16(this.#deviceEvent + 2, true);
    if (flags !== DESC || !this.eventIdx) return flags !== DISABLE;
    const offWrap = this.view.getUint16(this.#deviceEvent, true);
    const { index, wrap } = this.#avail;
    const event = (offWrap & 0x7fff) - (offWrap >> 15 === wrap ? 0 : this.num);
    return needEvent(event, index, index - added);
  }

  takeUsed(): UsedChain | undefined {
    if (!this.#isUsed(this.#used)) return undefined;
    const at = 16 * this.#used.index;
    const head = this.#idAt(this.#used.index);
    const slots = this.#outstanding.get(head);
    if (slots === undefined) throw new Error(`id ${head} is not a head!`);
    const written = this.view.getUint16(at + 14, true) & WRITE ? this.view.getUint32(at + 8, true) : 0;
    this.#outstanding.delete(head);
    this.#freeIds.push(head);
    this.#freeSlots += slots;
    this.#used.advance(slots);
    this.#taken++;
    return { head, written };
  }

  setNoInterrupt(on: boolean): void {
    this.#setDriverEvent(0, on ? DISABLE : ENABLE);
  }

  /** With EVENT_IDX: an interrupt is wanted when the device has used this descriptor. */
  setEvent({ index, wrap }: PackedPosition): void {
    this.#setDriverEvent(index | (wrap << 15), DESC);
  }

  enableInterrupts(): boolean {
    if (this.eventIdx) this.setEvent(this.#used);
    else this.setNoInterrupt(false);
    return this.#isUsed(this.#used);
  }

  #setDriverEvent(offWrap: number, flags: number): void {
    this.view.setUint16(this.#driverEvent, offWrap, true);
    this.view.setUint16(this.#driverEvent + 2, flags, true);
  }

  #idAt(slot: number): number {
    return this.view.getUint16(16 * slot + 12, true);
  }

  #isUsed(position: PackedPosition): boolean {
    return isUsedIn(this.view, position);
  }
}

function isUsedIn(view: DataView, { index, wrap }: PackedPosition): boolean {
  const flags = view.getUint16(16 * index + 14, true);
  return (flags & (AVAIL | USED)) === (wrap === 1 ? AVAIL | USED : 0);
}
