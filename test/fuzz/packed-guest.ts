import type { PackedPosition, PackedState, RingState } from '../../frontends/virtio/virtq/ring-state.ts';
import type { RingGeometry } from '../../frontends/virtio/virtq/virtqueue.ts';
import type { ChainPlan } from './chain-plan.ts';
import { type GuestWorld, RING_BYTES, RING_IOVA } from './guest-world.ts';
import type { Random } from './random.ts';
import type { GuestRingFeatures, RingGuest } from './ring-guest.ts';

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 0x80;
const USED = 0x8000;
const TURN = AVAIL | USED;
const MAX_NUM = 32;

/** The driver's side of a packed virtqueue, without manners. */
export class PackedGuest implements RingGuest {
  readonly layout = 'packed';
  readonly sizes = [1, 2, 3, 5, 8, 13, 16, 27, 32, 32];
  geometry: RingGeometry<PackedState> = {
    num: 0,
    descAddr: 0,
    driverAddr: 0,
    deviceAddr: 0,
    state: { layout: 'packed', avail: { index: 0, wrap: 1 }, used: { index: 0, wrap: 1 } },
  };
  readonly #world: GuestWorld;
  readonly #random: Random;
  #num = 0;
  #driverEvent = 0;
  #deviceEvent = 0;
  #indirectAllowed = true;
  #avail = 0;
  #availWrap: 0 | 1 = 1;
  #used = 0;
  #usedWrap: 0 | 1 = 1;
  #free = 0;
  #offered = 0;
  /** By buffer id: descriptors of the ring, 0 when the id is free. */
  readonly #slots = new Uint8Array(MAX_NUM);
  /** Lists that the device has written back, in order, and how many of them the driver has taken note of. */
  readonly #writtenBack: {
    readonly at: number;
    readonly wrap: 0 | 1;
    readonly slots: number;
    readonly id: number;
  }[] = [];
  #seen = 0;
  /** By descriptor: the lap in which the device gave it back, plus 1; 0 when it is the driver's since. */
  readonly #givenBack = new Uint8Array(MAX_NUM);
  /** Only then can be told what the ring must look like. */
  honest = true;
  /** The parts overlap, or lie where the device cannot use them. */
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
    this.#driverEvent = 16 * num + 4 * random.below(8);
    this.#deviceEvent = this.#driverEvent + 4 + 4 * random.below(8);
    this.#avail = random.below(num);
    this.#availWrap = random.oneIn(2) ? 1 : 0;
    this.#used = this.#avail;
    this.#usedWrap = this.#availWrap;
    this.#free = num;
    this.#offered = 0;
    this.#slots.fill(0);
    this.#givenBack.fill(0);
    this.#writtenBack.length = 0;
    this.#seen = 0;
    // What earlier laps left: used descriptors of this lap before the position, of the one before it after that.
    for (let slot = 0; slot < num; slot++) {
      const wrap = slot < this.#avail ? this.#availWrap : 1 - this.#availWrap;
      this.#setFlags(slot, wrap === 1 ? TURN : 0);
    }
    if (random.oneIn(2)) this.#setEvent(eventIdx);
    const position: PackedPosition = { index: this.#avail, wrap: this.#availWrap };
    this.geometry = {
      num,
      descAddr: RING_IOVA,
      driverAddr: RING_IOVA + this.#driverEvent,
      deviceAddr: RING_IOVA + this.#deviceEvent,
      state: { layout: 'packed', avail: position, used: position },
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
    const position = (): PackedPosition => ({
      index: random.oneIn(4) ? random.below(65536) : random.below(this.#num),
      wrap: random.oneIn(2) ? 1 : 0,
    });
    const { num, descAddr, driverAddr, deviceAddr, state } = this.geometry;
    this.geometry = {
      num: random.oneIn(4) ? random.pick([0, 65536, 2 ** 31, random.u32()]) : num,
      descAddr: random.oneIn(3) ? anywhere() : descAddr,
      driverAddr: random.oneIn(3) ? anywhere() : driverAddr,
      deviceAddr: random.oneIn(3) ? anywhere() : deviceAddr,
      state: random.oneIn(2) ? state : { layout: 'packed', avail: position(), used: position() },
    };
  }

  offer(plan: ChainPlan): void {
    const random = this.#random;
    this.#takeUsed();
    const table = this.#indirectAllowed ? !random.oneIn(3) : random.oneIn(20);
    const needed = table ? 1 : plan.count;
    if (plan.count === 0 || needed > this.#num || (plan.count > this.#num && !random.oneIn(10))) return;
    if (needed > this.#free) {
      if (!random.oneIn(30)) return;
      this.honest = false;
    }
    const id = this.#pickId();
    const first = this.#avail;
    let firstWord = 0;
    for (let i = 0; i < needed; i++) {
      const slot = this.#avail;
      const turn = this.#availWrap === 1 ? AVAIL : USED;
      const more = i + 1 < needed ? NEXT : 0;
      const flags = table ? this.#table(slot, plan) : this.#direct(slot, plan, i);
      const word = (more === 0 ? id : random.below(65536)) | ((flags | turn | more) << 16);
      if (i === 0) firstWord = word;
      else this.#world.pokeRing32(16 * slot + 12, word);
      this.#givenBack[slot] = 0;
      this.#advance();
    }
    // The first descriptor is what makes the list available.
    this.#world.pokeRing32(16 * first + 12, firstWord);
    this.#free -= needed;
    this.#offered++;
    if (id < MAX_NUM) this.#slots[id] = needed;
  }

  hurry(): void {
    this.honest = false;
    const flags = this.#world.ring16(16 * this.#avail + 14) & ~TURN;
    this.#setFlags(this.#avail, flags | (this.#availWrap === 1 ? AVAIL : USED));
    this.#advance();
  }

  scribble(): void {
    const random = this.#random;
    const world = this.#world;
    const slot = random.below(this.#num);
    switch (random.below(6)) {
      case 0:
        world.pokeRing32(16 * slot + 4 * random.below(4), random.u32() >>> random.below(32));
        break;
      case 1: {
        const turn = random.pick([0, AVAIL, USED, TURN]);
        this.#setFlags(
          slot,
          turn | random.pick([0, NEXT, WRITE, INDIRECT, NEXT | INDIRECT, random.below(65536)]),
        );
        break;
      }
      case 2: {
        const word = 16 * slot + 4 * random.below(4);
        world.pokeRing32(word, world.ring32(word) ^ (1 << random.below(32)));
        break;
      }
      case 3:
        world.pokeRing16(16 * slot + 12, random.oneIn(4) ? random.below(65536) : random.below(this.#num));
        break;
      case 4:
        this.#setEvent(true);
        return;
      default:
        this.hurry();
    }
    this.honest = false;
  }

  isTooFarAhead(): boolean {
    return false;
  }

  checkUsed(head: number): string | undefined {
    const slots = this.#slots[head] ?? 0;
    this.#writtenBack.push({ at: this.#used, wrap: this.#usedWrap, slots, id: head });
    if (!this.honest) return undefined;
    if (slots === 0) return `buffer id ${head} was given back, which is not with the device`;
    const id = this.#world.ring16(16 * this.#used + 12);
    if (id !== head) return `the descriptor ${this.#used} names ${id} instead of ${head}`;
    this.#givenBack[this.#used] = this.#usedWrap + 1;
    this.#used += slots;
    if (this.#used >= this.#num) {
      this.#used -= this.#num;
      this.#usedWrap = this.#usedWrap === 1 ? 0 : 1;
    }
    return undefined;
  }

  checkPublished(): string | undefined {
    if (!this.honest) return undefined;
    for (let slot = 0; slot < this.#num; slot++) {
      const lap = this.#givenBack[slot]!;
      if (lap === 0) continue;
      const flags = this.#world.ring16(16 * slot + 14) & TURN;
      if (flags !== (lap === 2 ? TURN : 0))
        return `descriptor ${slot} was given back and is not marked as used`;
    }
    return undefined;
  }

  /** The driver's event suppression is its own; between the parts and behind them nobody writes. */
  checkIntact(): string | undefined {
    if (this.#strange) return undefined;
    const ok =
      this.#world.ringIsAsWritten(16 * this.#num, this.#deviceEvent) &&
      this.#world.ringIsAsWritten(this.#deviceEvent + 4, RING_BYTES);
    return ok ? undefined : 'the device wrote outside of its parts of the ring';
  }

  checkState(state: RingState, count: number, reason: string | undefined): string | undefined {
    if (state.layout !== 'packed') return 'the state is that of another layout';
    const { avail, used } = state;
    if (avail.index >= this.#num) return `the state is outside of the ring: ${avail.index}`;
    if (!this.honest || count !== this.#offered || reason !== undefined) return undefined;
    if (avail.index === this.#avail && avail.wrap === this.#availWrap && used.index < this.#num)
      return undefined;
    return `a successor would start at ${JSON.stringify(avail)} instead of ${this.#avail}, ${this.#availWrap}`;
  }

  /** Descriptors and ids are the driver's again once it sees them marked as used, and not before. */
  #takeUsed(): void {
    for (; this.#seen < this.#writtenBack.length; this.#seen++) {
      const { at, wrap, slots, id } = this.#writtenBack[this.#seen]!;
      const flags = this.#world.ring16(16 * at + 14) & TURN;
      if (this.honest && flags !== (wrap === 1 ? TURN : 0)) return;
      if (id < MAX_NUM) this.#slots[id] = 0;
      this.#free += slots;
    }
  }

  /** A free one, but for once in a while. */
  #pickId(): number {
    const random = this.#random;
    let id = random.below(this.#num);
    if (random.oneIn(80)) id = random.oneIn(2) ? random.below(65536) : id;
    else for (let i = 0; i < this.#num && this.#slots[id] !== 0; i++) id = (id + 1) % this.#num;
    if (id >= this.#num || this.#slots[id] !== 0) this.honest = false;
    return id;
  }

  #direct(slot: number, plan: ChainPlan, index: number): number {
    const random = this.#random;
    this.#element(slot, plan.low[index]!, plan.high[index]!, plan.len[index]!);
    const strange = random.oneIn(100) ? random.pick([INDIRECT, 0x40, 0x100]) : 0;
    return (plan.writable[index]! * WRITE) | strange;
  }

  #table(slot: number, plan: ChainPlan): number {
    const random = this.#random;
    const world = this.#world;
    const [low, high] = world.place(16 * plan.count);
    for (let i = 0; i < plan.count; i++) {
      const at = low + 16 * i;
      world.poke32(at, high, plan.low[i]!);
      world.poke32(at + 4, high, plan.high[i]!);
      world.poke32(at + 8, high, plan.len[i]!);
      // All but WRITE means nothing in a table.
      const noise = random.oneIn(8) ? random.u32() & ~(WRITE << 16) : 0;
      world.poke32(at + 12, high, ((plan.writable[i]! * WRITE) << 16) | noise);
    }
    const odd = random.oneIn(20);
    const len = odd
      ? random.pick([0, 8, 16 * plan.count + 1, 0xffff_fff0, 16 * this.#num + 16])
      : 16 * plan.count;
    this.#element(slot, low, high, len);
    return INDIRECT | (odd ? random.below(4) & WRITE : 0);
  }

  #element(slot: number, low: number, high: number, len: number): void {
    this.#world.pokeRing32(16 * slot, low);
    this.#world.pokeRing32(16 * slot + 4, high);
    this.#world.pokeRing32(16 * slot + 8, len);
  }

  #setFlags(slot: number, flags: number): void {
    this.#world.pokeRing16(16 * slot + 14, flags);
  }

  #setEvent(anyKind: boolean): void {
    const random = this.#random;
    this.#world.pokeRing16(this.#driverEvent, random.below(65536));
    this.#world.pokeRing16(this.#driverEvent + 2, anyKind ? random.below(4) : random.below(2));
  }

  #advance(): void {
    this.#avail++;
    if (this.#avail < this.#num) return;
    this.#avail = 0;
    this.#availWrap = this.#availWrap === 1 ? 0 : 1;
  }
}
