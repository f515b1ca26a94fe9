import { needEvent } from '../../frontends/virtio/virtq/notify.ts';

/**
 * The driver's side of a split virtqueue in a plain ArrayBuffer: builds chains, good and malicious, makes them
 * available, and takes used ones back with the checks that Linux makes. Addresses are offsets plus `base`.
 */

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** One descriptor, as written; `next` defaults to the following one of the chain. */
export interface Descriptor {
  readonly addr: number | bigint;
  readonly len: number;
  readonly writable?: boolean;
  /** Overrides the flags computed from the position and `writable`. */
  readonly flags?: number;
  readonly next?: number;
}

export interface UsedChain {
  readonly head: number;
  /** Bytes the device says it has written. */
  readonly written: number;
}

export interface RingBuilderOptions {
  readonly num?: number;
  readonly eventIdx?: boolean;
  /** Initial value of both indices. Default 0. */
  readonly index?: number;
  /** Bytes of memory, rings and payload. Default 1 MiB. */
  readonly memory?: number;
  /** Address of the first byte. Default 0x10000. */
  readonly base?: number;
  readonly buffer?: ArrayBuffer;
}

export class RingBuilder {
  readonly num: number;
  readonly buffer: ArrayBuffer;
  readonly base: number;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** What the transport tells the device. */
  readonly geometry: {
    num: number;
    descAddr: number;
    driverAddr: number;
    deviceAddr: number;
    availIndex: number;
  };
  readonly #eventIdx: boolean;
  readonly #desc = 0;
  readonly #avail: number;
  readonly #used: number;
  readonly #heapStart: number;
  #heap: number;
  #availIdx: number;
  #usedIdx: number;
  /** Available index when a kick was last considered. */
  #kickedAt: number;
  readonly #free: number[];
  /** Head → descriptors of the table it occupies. */
  readonly #outstanding = new Map<number, number[]>();

  constructor(options: RingBuilderOptions = {}) {
    const { num = 16, eventIdx = true, index = 0, memory = 2 ** 20, base = 0x10000 } = options;
    this.num = num;
    this.base = base;
    this.buffer = options.buffer ?? new ArrayBuffer(memory);
    this.view = new DataView(this.buffer);
    this.bytes = new Uint8Array(this.buffer);
    this.#eventIdx = eventIdx;
    this.#avail = this.#desc + 16 * num;
    this.#used = (this.#avail + 6 + 2 * num + 4095) & ~4095;
    this.#heapStart = (this.#used + 6 + 8 * num + 4095) & ~4095;
    this.#heap = this.#heapStart;
    this.#availIdx = index;
    this.#usedIdx = index;
    this.#kickedAt = index;
    this.#free = Array.from({ length: num }, (_, i) => num - 1 - i);
    this.view.setUint16(this.#avail + 2, index, true);
    this.view.setUint16(this.#used + 2, index, true);
    this.geometry = {
      num,
      descAddr: base + this.#desc,
      driverAddr: base + this.#avail,
      deviceAddr: base + this.#used,
      availIndex: index,
    };
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get freeDescriptors(): number {
    return this.#free.length;
  }

  /** Index of the used ring that the driver takes next. */
  get usedIndex(): number {
    return this.#usedIdx;
  }

  /** Takes memory for a buffer and returns its address. Nothing is given back before `reuseMemory`. */
  allocate(length: number, align = 16): number {
    const at = Math.ceil(this.#heap / align) * align;
    if (at + length > this.buffer.byteLength) throw new Error('the ring builder is out of memory');
    this.#heap = at + length;
    return this.base + at;
  }

  /** Forgets every allocation; call it while nothing is outstanding. */
  reuseMemory(): void {
    this.#heap = this.#heapStart;
  }

  /** The bytes at an address, as a view. */
  at(addr: number, length: number): Uint8Array {
    return this.bytes.subarray(addr - this.base, addr - this.base + length);
  }

  /** Writes a chain into the table and makes it available. Returns its head. Does not notify. */
  add(chain: readonly Descriptor[]): number {
    const indices = this.#take(chain.length);
    chain.forEach((descriptor, i) => {
      this.#write(this.#desc + 16 * indices[i]!, descriptor, indices[i + 1]);
    });
    return this.#offer(indices);
  }

  /** The same with an indirect table, after `direct` descriptors of the chain in the ring's own table. */
  addIndirect(chain: readonly Descriptor[], direct = 0): number {
    const table = this.writeTable(chain.slice(direct));
    return this.add([...chain.slice(0, direct), table]);
  }

  /** Writes an indirect table, and returns the descriptor that refers to it. */
  writeTable(chain: readonly Descriptor[]): Descriptor {
    const addr = this.allocate(16 * chain.length);
    chain.forEach((descriptor, i) => {
      this.#write(addr - this.base + 16 * i, descriptor, i + 1 < chain.length ? i + 1 : undefined);
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

  /** Asks for no interrupts, without EVENT_IDX. */
  setNoInterrupt(on: boolean): void {
    this.view.setUint16(this.#avail, on ? 1 : 0, true);
  }

  /** With EVENT_IDX: an interrupt is wanted when the device has used the element with this index. */
  setUsedEvent(index: number): void {
    this.view.setUint16(this.#avail + 4 + 2 * this.num, index & 0xffff, true);
  }

  /** True when the device wants a notification for what was made available since the last call. */
  needsKick(): boolean {
    const old = this.#kickedAt;
    this.#kickedAt = this.#availIdx;
    if (old === this.#availIdx) return false;
    if (!this.#eventIdx) return (this.view.getUint16(this.#used, true) & 1) === 0;
    return needEvent(this.view.getUint16(this.#used + 4 + 8 * this.num, true), this.#availIdx, old);
  }

  /** The used index as the device has published it. */
  get publishedIndex(): number {
    return this.view.getUint16(this.#used + 2, true);
  }

  /** Takes the next used chain back, or returns undefined. Throws as Linux complains: `id N is not a head!`. */
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

  /** Heads that the device has given back and the driver has not taken. */
  get untakenHeads(): number[] {
    const heads: number[] = [];
    for (let idx = this.#usedIdx; idx !== this.publishedIndex; idx = (idx + 1) & 0xffff)
      heads.push(this.view.getUint32(this.#used + 4 + 8 * (idx % this.num), true));
    return heads;
  }

  takeAllUsed(): UsedChain[] {
    const taken: UsedChain[] = [];
    for (let used = this.takeUsed(); used !== undefined; used = this.takeUsed()) taken.push(used);
    return taken;
  }

  /** Asks for an interrupt at the next used element, as a driver does before it sleeps. True: more came meanwhile. */
  enableInterrupts(): boolean {
    this.setUsedEvent(this.#usedIdx);
    this.setNoInterrupt(false);
    return this.publishedIndex !== this.#usedIdx;
  }

  #take(count: number): number[] {
    if (count > this.#free.length) throw new Error('the ring builder is out of descriptors');
    return Array.from({ length: count }, () => this.#free.pop()!);
  }

  #write(at: number, descriptor: Descriptor, next: number | undefined): void {
    const continued = next !== undefined || descriptor.next !== undefined;
    const flags = (descriptor.writable ? WRITE : 0) | (descriptor.flags ?? 0) | (continued ? NEXT : 0);
    this.view.setBigUint64(at, BigInt(descriptor.addr), true);
    this.view.setUint32(at + 8, descriptor.len, true);
    this.view.setUint16(at + 12, flags, true);
    this.view.setUint16(at + 14, descriptor.next ?? next ?? 0, true);
  }

  #offer(indices: number[]): number {
    const head = indices[0]!;
    this.#outstanding.set(head, indices);
    this.offerRaw(head);
    return head;
  }
}
