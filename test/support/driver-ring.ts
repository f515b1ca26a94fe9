import type { RingGeometry } from '../../frontends/virtio/virtq/virtqueue.ts';

/** One descriptor, as written. */
export interface Descriptor {
  readonly addr: number | bigint;
  readonly len: number;
  readonly writable?: boolean;
  /** Set besides the flags that follow from the position and `writable`. */
  readonly flags?: number;
  /** Split rings: index of the next descriptor. Default: that of the following one of the chain. */
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
  /** Chains, or descriptors of a packed ring, that went through the ring before. Default 0. */
  readonly index?: number;
  /** Bytes of memory, rings and payload. Default 1 MiB. */
  readonly memory?: number;
  /** Address of the first byte. Default 0x10000. */
  readonly base?: number;
  readonly buffer?: ArrayBuffer;
  /** Where payload is: memory of its own, from address 0 on, which may be other memory each time. Default: `buffer`. */
  readonly heap?: () => Uint8Array;
}

/** A range of addresses. */
export interface Range {
  readonly start: number;
  /** Inclusive. */
  readonly last: number;
}

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;
const PAGE = 4096;

/**
 * The driver's side of a virtqueue in a plain ArrayBuffer: builds chains, good and malicious, makes them available,
 * and takes used ones back with the checks that Linux makes. Addresses are offsets plus `base`.
 */
export abstract class DriverRing {
  readonly num: number;
  readonly buffer: ArrayBuffer;
  readonly base: number;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  protected readonly eventIdx: boolean;
  /** Bytes, whole pages. */
  protected readonly ringLength: number;
  readonly #heapBytes: (() => Uint8Array) | undefined;
  readonly #heapStart: number;
  #heap: number;

  /** What the transport tells the device. */
  abstract readonly geometry: RingGeometry;
  /** The memory that holds the ring, one range for each part that a driver allocates separately. */
  abstract readonly parts: readonly Range[];
  /** Chains that are with the device. */
  abstract readonly outstanding: number;
  abstract readonly freeDescriptors: number;
  /** Chains the device has published since the ring was made. */
  abstract readonly published: number;
  /** Heads that the device has given back and the driver has not taken, in order; in a copy of the memory. */
  abstract untakenIn(memory: Uint8Array): number[];

  /** `ringBytes`: how much of the memory the ring takes. */
  constructor(options: RingBuilderOptions, ringBytes: (num: number) => number) {
    const { num = 16, eventIdx = true, memory = 2 ** 20, base = 0x10000 } = options;
    this.num = num;
    this.base = base;
    this.buffer = options.buffer ?? new ArrayBuffer(memory);
    this.view = new DataView(this.buffer);
    this.bytes = new Uint8Array(this.buffer);
    this.eventIdx = eventIdx;
    this.#heapBytes = options.heap;
    this.ringLength = pageAligned(ringBytes(num));
    // Nobody is given page 0.
    this.#heapStart = options.heap === undefined ? this.ringLength : PAGE;
    this.#heap = this.#heapStart;
  }

  /** Writes a chain and makes it available. Returns its head. Does not notify. */
  abstract add(chain: readonly Descriptor[]): number;
  /** Writes an indirect table, and returns the descriptor that refers to it. */
  abstract writeTable(chain: readonly Descriptor[]): Descriptor;
  /** True when the device wants a notification for what was made available since the last call. */
  abstract needsKick(): boolean;
  /** Takes the next used chain back, or returns undefined. Throws as Linux complains: `id N is not a head!`. */
  abstract takeUsed(): UsedChain | undefined;
  /** Asks for an interrupt at the next used chain, as a driver does before it sleeps. True: more came meanwhile. */
  abstract enableInterrupts(): boolean;
  /** Asks for no interrupts, without EVENT_IDX. */
  abstract setNoInterrupt(on: boolean): void;

  /** Where payload starts. */
  get heapStart(): number {
    return this.#heapBase + this.#heapStart;
  }

  /** Takes memory for a buffer and returns its address. Nothing is given back before `reuseMemory`. */
  allocate(length: number, align = 16): number {
    const at = Math.ceil(this.#heap / align) * align;
    if (at + length > (this.#heapBytes?.() ?? this.bytes).length)
      throw new Error('the ring builder is out of memory');
    this.#heap = at + length;
    return this.#heapBase + at;
  }

  /** Forgets every allocation; call it while nothing is outstanding. */
  reuseMemory(): void {
    this.#heap = this.#heapStart;
  }

  /** The bytes at an address, as a view. */
  at(addr: number, length: number): Uint8Array {
    if (this.#heapBytes !== undefined && addr < this.base)
      return this.#heapBytes().subarray(addr, addr + length);
    return this.bytes.subarray(addr - this.base, addr - this.base + length);
  }

  /** Adds a chain in an indirect table, after `direct` descriptors of it in the ring itself. */
  addIndirect(chain: readonly Descriptor[], direct = 0): number {
    const table = this.writeTable(chain.slice(direct));
    return this.add([...chain.slice(0, direct), table]);
  }

  get untakenHeads(): number[] {
    return this.untakenIn(this.bytes);
  }

  takeAllUsed(): UsedChain[] {
    const taken: UsedChain[] = [];
    for (let used = this.takeUsed(); used !== undefined; used = this.takeUsed()) taken.push(used);
    return taken;
  }

  get #heapBase(): number {
    return this.#heapBytes === undefined ? this.base : 0;
  }

  /** For descriptors of an indirect table. */
  protected viewAt(addr: number, length: number): DataView {
    const { buffer, byteOffset } = this.at(addr, length);
    return new DataView(buffer, byteOffset, length);
  }

  /** Address and length of a descriptor. */
  protected writeElement(view: DataView, at: number, { addr, len }: Descriptor): void {
    view.setBigUint64(at, BigInt(addr), true);
    view.setUint32(at + 8, len, true);
  }
}

/** Takes `count` of what is free. */
export function takeFree(free: number[], count: number): number[] {
  if (count > free.length) throw new Error('the ring builder is out of descriptors');
  return Array.from({ length: count }, () => free.pop()!);
}

export const pageAligned = (bytes: number): number => Math.ceil(bytes / PAGE) * PAGE;
