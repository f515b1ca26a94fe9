import { needEvent } from '../../frontends/virtio/virtq/notify.ts';
import type { SplitState } from '../../frontends/virtio/virtq/ring-state.ts';
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

/** A split virtqueue. */
export class RingBuilder extends DriverRing {
  readonly geometry: RingGeometry<SplitState>;
  readonly parts: readonly Range[];
  readonly #start: number;
  readonly #avail: number;
  readonly #used: number;
  #availIdx: number;
  #usedIdx: number;
  /** Available index when a kick was last considered. */
  #kickedAt: number;
  readonly #free: number[];
  /** Head → descriptors of the table it occupies. */
  readonly #outstanding = new Map<number, number[]>();

  constructor(options: RingBuilderOptions = {}) {
    super(options, (num) => usedOffset(num) + 6 + 8 * num);
    const { num, base } = this;
    const { index = 0 } = options;
    this.#start = index;
    this.#avail = 16 * num;
    this.#used = usedOffset(num);
    this.#availIdx = index;
    this.#usedIdx = index;
    this.#kickedAt = index;
    this.#free = Array.from({ length: num }, (_, i) => num - 1 - i);
    this.view.setUint16(this.#avail + 2, index, true);
    this.view.setUint16(this.#used + 2, index, true);
    this.geometry = {
      num,
      descAddr: base,
      driverAddr: base + this.#avail,
      deviceAddr: base + this.#used,
      state: { layout: 'split', availIndex: index },
    };
    this.parts = [{ start: base, last: base + this.ringLength - 1 }];
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get freeDescriptors(): number {
    return this.#free.length;
  }

  get published(): number {
    return (this.publishedIndex - this.#start) & 0xffff;
  }

  /** Index of the used ring that the driver takes next. */
  get usedIndex(): number {
    return this.#usedIdx;
  }

  add(chain: readonly Descriptor[]): number {
    const indices = takeFree(this.#free, chain.length);
    chain.forEach((descriptor, i) => {
      this.#write(this.view, 16 * indices[i]!, descriptor, indices[i + 1]);
    });
    return this.#offer(indices);
  }

  writeTable(chain: readonly Descriptor[]): Descriptor {
    const addr = this.allocate(16 * chain.length);
    const table = this.viewAt(addr, 16 * chain.length);
    chain.forEach((descriptor, i) => {
      this.#write(table, 16 * i, descriptor, i + 1 < chain.length ? i + 1 : undefined);
    });
    return { addr, len: 16 * chain.length, flags: INDIRECT };
  }

  /** Puts any number into the available ring, valid or not, without book-keeping. */
  offerRaw(head: number): void {
    this.view.setUint16(this.#avail + 4 + 2 * (this.#availIdx % this.num), head, true);
    this.setAvailIndex(this.#availIdx + 1);
  }

  setAvailIndex(index: number): void {
    this.#availIdx = index & 0xffff;
    this.view.setUint16(this.#avail + 2, this.#availIdx, true);
  }

  setNoInterrupt(on: boolean): void {
    this.view.setUint16(this.#avail, on ? 1 : 0, true);
  }

  /** With EVENT_IDX: an interrupt is wanted when the device has used the element with this index. */
  setUsedEvent(index: number): void {
    this.view.setUint16(this.#avail + 4 + 2 * this.num, index & 0xffff, true);
  }

  needsKick(): boolean {
    const old = this.#kickedAt;
    this.#kickedAt = this.#availIdx;
    if (old === this.#availIdx) return false;
    if (!this.eventIdx) return (this.view.getUint16(this.#used, true) & 1) === 0;
    return needEvent(this.view.getUint16(this.#used + 4 + 8 * this.num, true), this.#availIdx, old);
  }

  /** The used index as the device has published it. */
  get publishedIndex(): number {
    return this.view.getUint16(this.#used + 2, true);
  }

  takeUsed(): UsedChain | undefined {
    if (this.publishedIndex === this.#usedIdx) return undefined;
    const at = this.#used + 4 + 8 * (this.#usedIdx % this.num);
    const head = this.view.getUint32(at, true);
    const written = this.view.getUint32(at + 4, true);
    const indices = this.#outstanding.get(head);
    if (indices === undefined) throw new Error(`id ${head} is not a head!`);
    this.#outstanding.delete(head);
    this.#free.push(...indices.toReversed());
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    return { head, written };
  }

  untakenIn(memory: Uint8Array): number[] {
    const view = new DataView(memory.buffer, memory.byteOffset);
    const published = view.getUint16(this.#used + 2, true);
    const heads: number[] = [];
    for (let idx = this.#usedIdx; idx !== published; idx = (idx + 1) & 0xffff)
      heads.push(view.getUint32(this.#used + 4 + 8 * (idx % this.num), true));
    return heads;
  }

  enableInterrupts(): boolean {
    this.setUsedEvent(this.#usedIdx);
    this.setNoInterrupt(false);
    return this.publishedIndex !== this.#usedIdx;
  }

  #write(view: DataView, at: number, descriptor: Descriptor, next: number | undefined): void {
    const continued = next !== undefined || descriptor.next !== undefined;
    const flags = (descriptor.writable ? WRITE : 0) | (descriptor.flags ?? 0) | (continued ? NEXT : 0);
    this.writeElement(view, at, descriptor);
    view.setUint16(at + 12, flags, true);
    view.setUint16(at + 14, descriptor.next ?? next ?? 0, true);
  }

  #offer(indices: number[]): number {
    const head = indices[0]!;
    this.#outstanding.set(head, indices);
    this.offerRaw(head);
    return head;
  }
}

/** The used ring starts on a page of its own, as in Linux. */
const usedOffset = (num: number): number => pageAligned(16 * num + 6 + 2 * num);
