import type { GuestWorld } from './guest-world.ts';
import type { Random } from './random.ts';

const MAX_DESCRIPTORS = 40;
const SECTOR = 512;

/** virtio-blk request types, the known ones as often as they deserve. */
const TYPES: readonly number[] = [0, 0, 0, 0, 1, 1, 1, 1, 4, 8, 11, 11, 13, 13];

/**
 * The descriptors of one request, as the guest is going to write them: mostly a request as a driver makes it, cut into
 * pieces anywhere, at addresses anywhere. One object serves any number of requests.
 */
export class ChainPlan {
  readonly low = new Uint32Array(MAX_DESCRIPTORS);
  readonly high = new Uint32Array(MAX_DESCRIPTORS);
  readonly len = new Uint32Array(MAX_DESCRIPTORS);
  readonly writable = new Uint8Array(MAX_DESCRIPTORS);
  count = 0;
  readonly #world: GuestWorld;
  readonly #random: Random;
  readonly #sectors: number;

  /** `sectors`: of the disk. */
  constructor(world: GuestWorld, random: Random, sectors: number) {
    this.#world = world;
    this.#random = random;
    this.#sectors = sectors;
  }

  /** Makes up a request, and writes its header and what it carries into the guest's memory. */
  makeUp(): void {
    const random = this.#random;
    this.count = 0;
    const type = random.oneIn(20) ? random.below(32) : random.pick(TYPES);
    this.#header(type);
    switch (type) {
      case 0:
        this.#payload(this.#length(), 1);
        break;
      case 1:
        this.#payload(this.#length(), 0);
        break;
      case 8:
        this.#payload(random.oneIn(3) ? random.below(40) : 20, 1);
        break;
      case 11:
      case 13:
        this.#ranges();
        break;
      default:
        if (random.oneIn(4)) this.#payload(random.below(2000), random.below(2));
    }
    // The status may be the last byte of the payload, or missing.
    if (!random.oneIn(30)) this.#add(1, 1);
    if (random.oneIn(16)) this.#spoil();
  }

  #header(type: number): void {
    const random = this.#random;
    const first = this.count;
    this.#cut(random.oneIn(40) ? random.below(24) : 16, 0, random.oneIn(6) ? 3 : 1);
    let sector = random.below(this.#sectors);
    let high = 0;
    if (random.oneIn(10)) {
      sector = random.pick([this.#sectors, this.#sectors - 1, 0x7f_ffff, 0xffff_ffff, random.u32()]);
      high = random.pick([0, 0, 0x1f_ffff, 0x80_0000, 0xffff_ffff, random.u32()]);
    }
    this.#write32(first, 0, type);
    this.#write32(first, 4, 0);
    this.#write32(first, 8, sector);
    this.#write32(first, 12, high);
  }

  #length(): number {
    const random = this.#random;
    if (random.oneIn(12)) return random.below(3 * SECTOR);
    if (random.oneIn(24)) return random.below(2 ** 17);
    return SECTOR * random.below(12);
  }

  #payload(length: number, writable: number): void {
    this.#cut(length, writable, this.#random.between(1, 4));
  }

  #ranges(): void {
    const random = this.#random;
    const count = random.oneIn(30) ? random.between(60, 70) : random.below(4);
    const first = this.count;
    this.#cut(16 * count + (random.oneIn(16) ? random.below(16) : 0), 0, random.oneIn(4) ? 3 : 1);
    for (let i = 0; i < Math.min(count, 4); i++) {
      const hostile = random.oneIn(8);
      this.#write32(first, 16 * i, hostile ? random.u32() : random.below(this.#sectors));
      this.#write32(first, 16 * i + 4, hostile && random.oneIn(2) ? random.u32() : 0);
      this.#write32(first, 16 * i + 8, hostile ? random.u32() >>> random.below(32) : random.below(64));
      this.#write32(first, 16 * i + 12, random.oneIn(6) ? random.below(4) : 0);
    }
  }

  /** Pieces of `length` bytes together, at most `pieces` of them with bytes; and empty ones in between. */
  #cut(length: number, writable: number, pieces: number): void {
    const random = this.#random;
    let left = length;
    for (let piece = 1; piece < pieces && left > 0; piece++) {
      const len = random.oneIn(3) ? random.below(left + 1) : Math.min(left, SECTOR * random.between(1, 4));
      this.#add(len, writable);
      left -= len;
    }
    this.#add(left, writable);
  }

  #add(len: number, writable: number): void {
    if (this.count === MAX_DESCRIPTORS) return;
    const [low, high] = this.#world.place(len);
    const index = this.count++;
    this.low[index] = low;
    this.high[index] = high;
    this.len[index] = len;
    this.writable[index] = writable;
  }

  /** Writes a word of what the pieces from `first` on carry. It may end up in several pieces, or nowhere. */
  #write32(first: number, offset: number, value: number): void {
    let skip = offset;
    for (let i = first; i < this.count; i++) {
      const len = this.len[i]!;
      if (skip + 4 <= len) {
        this.#world.poke32(this.low[i]! + skip, this.high[i]!, value);
        return;
      }
      if (skip < len) {
        for (let byte = 0; byte < 4; byte++) this.#write8(first, offset + byte, value >>> (8 * byte));
        return;
      }
      skip -= len;
    }
  }

  #write8(first: number, offset: number, value: number): void {
    let skip = offset;
    for (let i = first; i < this.count; i++) {
      if (skip < this.len[i]!) {
        this.#world.poke(this.low[i]! + skip, this.high[i]!, value);
        return;
      }
      skip -= this.len[i]!;
    }
  }

  /** One thing that no driver does. */
  #spoil(): void {
    const random = this.#random;
    const index = random.below(this.count);
    switch (random.below(6)) {
      case 0:
        this.writable[index]! ^= 1;
        break;
      case 1:
        this.len[index] = random.pick([0, 0xffff_ffff, 0x8000_0000, 0xffff_fff0, random.u32()]);
        break;
      case 2:
        this.low[index] = random.u32();
        break;
      case 3:
        this.high[index] = random.u32() >>> random.below(32);
        break;
      case 4:
        this.count = random.below(this.count + 1);
        break;
      default:
        while (this.count < MAX_DESCRIPTORS && !random.oneIn(20)) this.#add(random.below(64), 0);
    }
  }
}
