import { GuestMemory } from '../../frontends/virtio/memory/guest-memory.ts';
import { Access, Mapping } from '../../frontends/virtio/memory/mapping.ts';
import type { Random } from './random.ts';
import { violated } from './target.ts';

const PAGE = 4096;
const PAGES = 23;
export const WORLD_BYTES = PAGES * PAGE;
const CANARY = 0xc5;

/** A range of I/O virtual addresses, and where it lies in the buffer. */
export interface Region {
  readonly iova: number;
  readonly length: number;
  readonly offset: number;
  readonly access: number;
}

export const RING_IOVA = 2 ** 46 + 0x5000_0000;
export const RING_BYTES = 2 * PAGE;
const LOW = 0x10000;
const SHORT = 0x900;
const A = { iova: LOW, length: 3 * PAGE + SHORT, offset: 4 * PAGE, access: Access.READ_WRITE };
const B = {
  iova: A.iova + A.length,
  length: 2 * PAGE - SHORT,
  offset: 9 * PAGE + SHORT,
  access: Access.READ_WRITE,
};
const C = { iova: B.iova + B.length, length: PAGE, offset: 12 * PAGE, access: Access.READ };
const D = { iova: C.iova + PAGE, length: PAGE, offset: 14 * PAGE, access: Access.WRITE };
/** After a hole of two pages. The two pages in its middle are absent at first: touching them would raise SIGBUS. */
const E = { iova: D.iova + 3 * PAGE, length: 4 * PAGE, offset: 16 * PAGE, access: Access.READ_WRITE };
const FIRST_ABSENT = 17;
const LAST_ABSENT = 18;
/** As high as addresses can be. */
const F = { iova: 2 ** 53 - 2 * PAGE, length: PAGE, offset: 21 * PAGE, access: Access.READ_WRITE };
const RING = { iova: RING_IOVA, length: RING_BYTES, offset: PAGE, access: Access.READ_WRITE };
/** A to D continue each other in addresses, and nothing does in the buffer: canaries lie in between. */
export const REGIONS: readonly Region[] = [A, B, C, D, E, F, RING];

/** Parts of the buffer, [from, to), that belong to no region. */
const GUARDS: readonly (readonly [number, number])[] = guards();

function guards(): [number, number][] {
  const found: [number, number][] = [];
  let from = 0;
  for (const { offset, length } of REGIONS.toSorted((a, b) => a.offset - b.offset)) {
    if (offset > from) found.push([from, offset]);
    from = offset + length;
  }
  found.push([from, PAGES * PAGE]);
  return found;
}

/**
 * The memory of a guest: regions of every kind of access, next to each other, with canaries around each. What the
 * guest writes is written twice, to the memory and to a shadow of it, so that what the device wrote can be told.
 */
export class GuestWorld {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #words16: Uint16Array;
  readonly #words32: Uint32Array;
  /** Some request is about the rings themselves: what the device writes there is what it was told to. */
  ringsTargeted = false;
  /** Called when the device asks for a page: between two looks of the device at memory. */
  onProbe: () => void = () => undefined;
  readonly #random: Random;
  #polite = false;
  readonly #parts: readonly { memory: Uint8Array; shadow: Uint8Array; fresh: Uint8Array }[];
  readonly #shadow = new Uint8Array(PAGES * PAGE);
  readonly #shadow16 = new Uint16Array(this.#shadow.buffer);
  readonly #shadow32 = new Uint32Array(this.#shadow.buffer);
  readonly #view: Buffer;
  readonly #snapshot = Buffer.alloc(PAGES * PAGE);
  readonly #mappings: (Mapping | undefined)[] = REGIONS.map(() => undefined);
  readonly #absent = new Uint8Array(PAGES);

  /** `buffer`: where it all is, `WORLD_BYTES` long. */
  constructor(random: Random, buffer: ArrayBuffer = new ArrayBuffer(WORLD_BYTES)) {
    this.#random = random;
    this.bytes = new Uint8Array(buffer);
    this.#words16 = new Uint16Array(buffer);
    this.#words32 = new Uint32Array(buffer);
    this.#view = Buffer.from(buffer);
    for (const bytes of [this.bytes, this.#shadow]) bytes.fill(CANARY);
    this.#parts = REGIONS.map((region) => {
      const { offset, length } = region;
      return {
        memory: this.bytes.subarray(offset, offset + length),
        shadow: this.#shadow.subarray(offset, offset + length),
        fresh: Uint8Array.from({ length }, (_, i) => (region === RING ? 0 : (i * 31) >> 3)),
      };
    });
  }

  /** Everything as at first; a new generation of memory over it. `polite`: addresses will lead somewhere. */
  reset(polite: boolean): GuestMemory {
    this.#polite = polite;
    this.ringsTargeted = false;
    for (let i = 0; i < this.#parts.length; i++) {
      const { memory, shadow, fresh } = this.#parts[i]!;
      memory.set(fresh);
      shadow.set(fresh);
    }
    this.#absent.fill(1, FIRST_ABSENT, LAST_ABSENT + 1);
    return this.newGeneration();
  }

  newGeneration(): GuestMemory {
    this.#mappings.fill(undefined);
    return new GuestMemory(this.#resolve);
  }

  /** An address for `length` bytes, mostly where there are some; as halves, since it may be any u64. */
  place(length: number): [low: number, high: number] {
    const random = this.#random;
    if (random.oneIn(2000)) {
      this.ringsTargeted = true;
      return inside(RING, length, random);
    }
    const kind = this.#polite ? 0 : random.below(100);
    if (kind < 72) return inside(random.oneIn(2) ? A : B, length, random);
    if (kind < 80) return split(random.pick([B, C, D, E]).iova - random.below(length + 1));
    if (kind < 85) return inside(random.oneIn(2) ? C : D, length, random);
    if (kind < 91) return inside(E, length, random);
    if (kind < 94) return inside(F, length, random);
    if (kind < 96) return split(random.pick(REGIONS.slice(0, 6)).iova + random.below(5 * PAGE));
    if (kind < 98) return [random.u32(), random.u32()];
    return [(0x1_0000_0000 - random.between(1, 2 * length + 2)) >>> 0, 0xffff_ffff];
  }

  /** A byte of guest memory, written by the guest. Addresses that lead nowhere are let be. */
  poke(low: number, high: number, value: number): void {
    const at = offsetOf(high * 2 ** 32 + low);
    if (at < 0 || this.#absent[at >>> 12]) return;
    this.bytes[at] = value;
    this.#shadow[at] = value;
  }

  poke32(low: number, high: number, value: number): void {
    const at = offsetOf(high * 2 ** 32 + low);
    if (at >= 0 && (at & 3) === 0 && (at & 4095) <= 4092 && !this.#absent[at >>> 12]) {
      this.#words32[at >>> 2] = value;
      this.#shadow32[at >>> 2] = value;
      return;
    }
    for (let i = 0; i < 4; i++) this.poke(low + i, high, value >>> (8 * i));
  }

  /** Words of the rings, by their offset in the ring's region. */
  pokeRing16(at: number, value: number): void {
    this.#words16[(PAGE + at) >>> 1] = value;
    this.#shadow16[(PAGE + at) >>> 1] = value;
  }

  pokeRing32(at: number, value: number): void {
    this.#words32[(PAGE + at) >>> 2] = value;
    this.#shadow32[(PAGE + at) >>> 2] = value;
  }

  ring16(at: number): number {
    return this.#words16[(PAGE + at) >>> 1]!;
  }

  ring32(at: number): number {
    return this.#words32[(PAGE + at) >>> 2]!;
  }

  /** Some byte of the data that is there becomes another. */
  flipData(): void {
    const region = this.#random.pick(REGIONS.slice(0, 6));
    const [low, high] = split(region.iova + this.#random.below(region.length));
    this.poke(low, high, this.#random.u32());
  }

  /** The absent pages appear, as when the driver maps them after all. */
  provide(page: number): void {
    this.#absent[FIRST_ABSENT + page] = 0;
  }

  /** What is wrong with a segment that the device is about to read, or to write; undefined when nothing is. */
  segmentProblem(segment: Uint8Array, access: number): string | undefined {
    const { byteOffset: from, length } = segment;
    if (segment.buffer !== this.bytes.buffer || length === 0) return 'it is not guest memory';
    for (let i = 0; i < REGIONS.length; i++) {
      const region = REGIONS[i]!;
      if (from < region.offset || from >= region.offset + region.length) continue;
      if (from + length > region.offset + region.length) return 'it reaches beyond its region';
      if ((region.access & access) !== access) return 'its region does not grant that';
      for (let page = from >>> 12; page <= (from + length - 1) >>> 12; page++)
        if (this.#absent[page]) return 'it has a page that is absent';
      return undefined;
    }
    return 'it is in no region';
  }

  /** The device wrote nothing outside of the regions, nor where it may only read, nor to absent pages. */
  checkUntouched(): void {
    for (let i = 0; i < GUARDS.length; i++)
      if (!this.#same(GUARDS[i]![0], GUARDS[i]![1])) violated('a canary around a region has changed');
    if (!this.#same(C.offset, C.offset + C.length)) violated('read-only memory has changed');
    for (let page = FIRST_ABSENT; page <= LAST_ABSENT; page++)
      if (this.#absent[page] && !this.#same(page * PAGE, (page + 1) * PAGE))
        violated('a page that is absent has changed');
  }

  /** Bytes [from, to) of the ring's region are as the guest wrote them. */
  ringIsAsWritten(from: number, to: number): boolean {
    return this.#same(PAGE + from, PAGE + to);
  }

  remember(): void {
    this.#snapshot.set(this.bytes);
  }

  /** Nothing at all was written since `remember`. */
  isAsRemembered(): boolean {
    return this.#snapshot.equals(this.#view);
  }

  #same(from: number, to: number): boolean {
    return this.#view.compare(this.#shadow, from, to, from, to) === 0;
  }

  readonly #resolve = (iova: number): Mapping | undefined => {
    for (let i = 0; i < REGIONS.length; i++) {
      const { iova: start, length, offset, access } = REGIONS[i]!;
      if (iova < start || iova >= start + length) continue;
      this.#mappings[i] ??= new Mapping({
        iova: start,
        length,
        access,
        buffer: this.bytes.buffer,
        offset,
        probe: this.#probe,
        unmap: keep,
      });
      return this.#mappings[i];
    }
    return undefined;
  };

  readonly #probe = (offset: number, length: number): boolean => {
    this.onProbe();
    for (let page = offset >>> 12; page <= (offset + length - 1) >>> 12; page++)
      if (this.#absent[page]) return false;
    return true;
  };
}

/** The buffer serves the next generation too. */
function keep(): void {}

function split(address: number): [low: number, high: number] {
  return [address >>> 0, Math.floor(address / 2 ** 32)];
}

function inside(region: Region, length: number, random: Random): [low: number, high: number] {
  return split(region.iova + random.below(Math.max(1, region.length - length + 1)));
}

function offsetOf(address: number): number {
  for (let i = 0; i < REGIONS.length; i++) {
    const { iova, length, offset } = REGIONS[i]!;
    if (address >= iova && address < iova + length) return offset + address - iova;
  }
  return -1;
}
