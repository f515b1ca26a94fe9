import type { RingState, SplitState } from '../../frontends/virtio/virtq/ring-state.ts';
import type { RingGeometry } from '../../frontends/virtio/virtq/virtqueue.ts';
import type { ChainPlan } from './chain-plan.ts';
import { type GuestWorld, RING_BYTES, RING_IOVA } from './guest-world.ts';
import type { Random } from './random.ts';
import type { GuestRingFeatures, RingGuest } from './ring-guest.ts';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const MAX_NUM = 64;

/** The driver's side of a split virtqueue, without manners. */
export class SplitGuest implements RingGuest {
  readonly layout = 'split';
  readonly sizes = [1, 2, 4, 8, 16, 16, 32, 32];
  geometry: RingGeometry<SplitState> = {
    num: 0,
    descAddr: 0,
    driverAddr: 0,
    deviceAddr: 0,
    state: { layout: 'split', availIndex: 0 },
  };
  readonly #world: GuestWorld;
  readonly #random: Random;
  #num = 0;
  #avail = 0;
  #used = 0;
  #availIdx = 0;
  #firstAvail = 0;
  #firstUsed = 0;
  #nextDescriptor = 0;
  #indirectAllowed = true;
  /** Heads that the device has written back, in order, and how many of them the driver has taken note of. */
  readonly #writtenBack: number[] = [];
  #seen = 0;
  readonly #busy = new Uint8Array(MAX_NUM);
  honest = true;
  /** The rings overlap, or lie where the device cannot use them. */
  #strange = false;

  constructor(world: GuestWorld, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  reset(num: number, { eventIdx, indirect }: GuestRingFeatures): void {
    const random = this.#random;
    this.#num = num;
    this.#indirectAllowed = indirect;
    this.#strange = false;
    this.honest = true;
    this.#avail = 16 * num + 2 * random.below(8);
    this.#used = (this.#avail + 6 + 2 * num + 3 + 4 * random.below(8)) & ~3;
    const index = random.oneIn(2) ? 0 : random.pick([0xffff, 0xfff8, random.below(65536)]);
    this.#availIdx = index;
    this.#firstAvail = index;
    this.#firstUsed = random.oneIn(8) ? random.below(65536) : index;
    this.#nextDescriptor = random.below(num);
    this.#busy.fill(0);
    this.#writtenBack.length = 0;
    this.#seen = 0;
    this.#world.pokeRing16(this.#avail + 2, index);
    this.#world.pokeRing16(this.#used + 2, this.#firstUsed);
    if (eventIdx && random.oneIn(2)) this.#world.pokeRing16(this.#avail + 4 + 2 * num, random.below(65536));
    this.geometry = {
      num,
      descAddr: RING_IOVA,
      driverAddr: RING_IOVA + this.#avail,
      deviceAddr: RING_IOVA + this.#used,
      state: { layout: 'split', availIndex: index },
    };
  }

  resetBadly(): void {
    const random = this.#random;
    this.reset(random.pick([1, 4, 16]), { eventIdx: false, indirect: true });
    this.#strange = true;
    this.honest = false;
    const anywhere = (): number => {
      if (random.oneIn(2)) return RING_IOVA + random.below(RING_BYTES + 64);
      const [low, high] = this.#world.place(64);
      return high * 2 ** 32 + low;
    };
    const { num, descAddr, driverAddr, deviceAddr } = this.geometry;
    this.geometry = {
      num: random.oneIn(4) ? random.pick([0, 3, 65536, 2 ** 31, random.u32()]) : num,
      descAddr: random.oneIn(3) ? anywhere() : descAddr,
      driverAddr: random.oneIn(3) ? anywhere() : driverAddr,
      deviceAddr: random.oneIn(3) ? anywhere() : deviceAddr,
      state: { layout: 'split', availIndex: random.below(65536) },
    };
    // Where the device is told to start, which need not be where the ring does.
    this.#firstAvail = this.geometry.state.availIndex;
  }

  offer(plan: ChainPlan): void {
    const random = this.#random;
    this.#takeUsed();
    let direct = random.oneIn(3) ? plan.count : random.oneIn(3) ? random.below(plan.count + 1) : 0;
    if (!this.#indirectAllowed && !random.oneIn(20)) direct = plan.count;
    const needed = direct + (direct < plan.count ? 1 : 0);
    if (needed === 0 || needed > this.#num) return;
    if (plan.count > this.#num && !random.oneIn(10)) return;
    const head = this.#nextDescriptor;
    if (this.#busy[head] === 1) {
      this.#nextDescriptor = (head + 1) % this.#num;
      if (!random.oneIn(50)) return;
      this.honest = false;
    }
    let index = head;
    for (let i = 0; i < needed; i++) {
      const next = (index + 1) % this.#num;
      const more = i + 1 < needed ? NEXT : 0;
      if (i < direct) {
        const flags = more | (plan.writable[i]! * WRITE);
        this.#descriptor(index, plan.low[i]!, plan.high[i]!, plan.len[i]!, flags, next);
      } else this.#indirect(index, plan, direct);
      index = next;
    }
    this.#nextDescriptor = index;
    this.#busy[head] = 1;
    this.#world.pokeRing16(this.#avail + 4 + 2 * (this.#availIdx & (this.#num - 1)), head);
    this.#offerNext();
  }

  hurry(): void {
    this.honest = false;
    this.#offerNext();
  }

  /** A head is the driver's again once it sees it in the used ring, and not before. */
  #takeUsed(): void {
    const published = (this.#world.ring16(this.#used + 2) - this.#firstUsed) & 0xffff;
    while (this.#seen < Math.min(published, this.#writtenBack.length))
      this.#busy[this.#writtenBack[this.#seen++]!] = 0;
  }

  #offerNext(): void {
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    this.#world.pokeRing16(this.#avail + 2, this.#availIdx);
  }

  scribble(): void {
    const random = this.#random;
    const world = this.#world;
    const num = this.#num;
    this.honest = false;
    switch (random.below(8)) {
      case 0:
        world.pokeRing32(16 * random.below(num) + 4 * random.below(4), random.u32() >>> random.below(32));
        break;
      case 1: {
        const word = 16 * random.below(num) + 12;
        const flags = random.pick([
          0,
          NEXT,
          WRITE,
          INDIRECT,
          NEXT | WRITE,
          NEXT | INDIRECT,
          random.below(65536),
        ]);
        world.pokeRing32(word, (random.below(num + 2) << 16) | flags);
        break;
      }
      case 2:
        this.#availIdx =
          (this.#availIdx + random.pick([1, 2, num, num + 1, 0xffff, random.below(65536)])) & 0xffff;
        world.pokeRing16(this.#avail + 2, this.#availIdx);
        break;
      case 3:
        world.pokeRing16(
          this.#avail + 4 + 2 * random.below(num),
          random.oneIn(6) ? random.below(65536) : random.below(num),
        );
        break;
      case 4:
        // used_event, which is just memory where it was not negotiated.
        world.pokeRing16(this.#avail + 4 + 2 * num, random.below(65536));
        break;
      case 5:
        world.pokeRing16(this.#avail, random.below(4));
        break;
      case 6: {
        // One bit of a descriptor.
        const word = 4 * random.below(4 * num);
        world.pokeRing32(word, world.ring32(word) ^ (1 << random.below(32)));
        break;
      }
      default:
        this.hurry();
    }
  }

  isTooFarAhead(count: number): boolean {
    return ((this.#availIdx - this.#firstAvail - count) & 0xffff) > this.#num;
  }

  checkUsed(head: number, nth: number): string | undefined {
    this.#writtenBack.push(head);
    if (this.#strange) return undefined;
    const at = this.#used + 4 + 8 * ((this.#firstUsed + nth) & (this.#num - 1));
    const id = this.#world.ring32(at);
    return id === head ? undefined : `used element ${nth} names ${id} instead of ${head}`;
  }

  checkPublished(count: number): string | undefined {
    if (this.#strange) return undefined;
    const index = this.#world.ring16(this.#used + 2);
    const expected = (this.#firstUsed + count) & 0xffff;
    return index === expected ? undefined : `the used index is ${index} instead of ${expected}`;
  }

  /** Descriptors and the available ring are the driver's; behind the used ring nobody writes. */
  checkIntact(): string | undefined {
    if (this.#strange) return undefined;
    if (!this.#world.ringIsAsWritten(0, this.#used))
      return 'the device wrote to descriptors or the available ring';
    const end = this.#used + 6 + 8 * this.#num;
    return this.#world.ringIsAsWritten(end, RING_BYTES) ? undefined : 'the device wrote behind the used ring';
  }

  checkState(state: RingState, count: number, reason: string | undefined): string | undefined {
    // A head that is named twice is consumed though it is not taken.
    const consumed = count + (reason?.includes('again while its request is in flight') ? 1 : 0);
    const expected = (this.geometry.state.availIndex + consumed) & 0xffff;
    if (state.layout === 'split' && state.availIndex === expected) return undefined;
    return `a successor would start at ${JSON.stringify(state)} instead of ${expected}`;
  }

  #indirect(index: number, plan: ChainPlan, from: number): void {
    const random = this.#random;
    const world = this.#world;
    const entries = plan.count - from;
    const [low, high] = world.place(16 * entries);
    const odd = random.oneIn(20);
    for (let i = 0; i < entries; i++) {
      const at = low + 16 * i;
      const last = i + 1 === entries;
      const flags = (last ? 0 : NEXT) | (plan.writable[from + i]! * WRITE) | (odd ? random.below(8) : 0);
      world.poke32(at, high, plan.low[from + i]!);
      world.poke32(at + 4, high, plan.high[from + i]!);
      world.poke32(at + 8, high, plan.len[from + i]!);
      world.poke32(at + 12, high, flags | ((odd ? random.below(entries + 2) : i + 1) << 16));
    }
    const len = odd ? random.pick([0, 8, 16 * entries + 1, 0xffff_fff0, 16 * this.#num + 16]) : 16 * entries;
    const flags = INDIRECT | (odd ? random.below(4) : 0);
    this.#descriptor(index, low, high, len, flags, random.below(this.#num));
  }

  #descriptor(index: number, low: number, high: number, len: number, flags: number, next: number): void {
    const at = 16 * index;
    this.#world.pokeRing32(at, low);
    this.#world.pokeRing32(at + 4, high);
    this.#world.pokeRing32(at + 8, len);
    this.#world.pokeRing32(at + 12, flags | (next << 16));
  }
}
