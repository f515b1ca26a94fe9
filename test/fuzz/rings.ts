import { GatewayError } from '../../core/api/errors.ts';
import { resolve } from '../../core/block/resolve.ts';
import { DiskVolume } from '../../core/block/volume.ts';
import { offeredFeatures } from '../../frontends/virtio/blk/features.ts';
import { type BlkLimits, blkLimits } from '../../frontends/virtio/blk/limits.ts';
import { BlkQueue } from '../../frontends/virtio/blk/queue.ts';
import type { GuestMemory } from '../../frontends/virtio/memory/guest-memory.ts';
import type { RingState } from '../../frontends/virtio/virtq/ring-state.ts';
import { watchVirtqueues } from '../support/watch-virtqueues.ts';
import { ChainPlan } from './chain-plan.ts';
import { GuestWorld } from './guest-world.ts';
import { PackedGuest } from './packed-guest.ts';
import { Random } from './random.ts';
import type { RingGuest } from './ring-guest.ts';
import { SplitGuest } from './split-guest.ts';
import { type FuzzTarget, quietLogger, violated } from './target.ts';
import { UnreliableDevice } from './unreliable-device.ts';

const SIZE = 2 ** 18;
const MAX_NUM = 32;
/** What a queue takes in one turn at most, and some: see WORK_PER_TURN. */
const TURN = 256;
/** Turns of the event loop, and of microtasks, in which everything has to have ended once nothing is held up. */
const PATIENCE = 2000;
/** What a queue says of a guest that has broken its ring. */
const GUILT = /^virtqueue 0 stopped: (the available (ring|index) |a list |more descriptors are available )/;
const FLUSH = 9n;
const DISCARD = 13n;
const WRITE_ZEROES = 14n;
const INDIRECT_DESC = 28n;
const EVENT_IDX = 29n;
const LEFT_OUT: readonly bigint[] = [FLUSH, DISCARD, WRITE_ZEROES, INDIRECT_DESC, EVENT_IDX];

interface Disk {
  readonly device: UnreliableDevice;
  readonly volume: DiskVolume;
  readonly offered: Readonly<Record<RingState['layout'], bigint>>;
  /** By size of the queue. */
  readonly limits: readonly BlkLimits[];
}

/**
 * The queue of a block device, from ring to store, against a guest that may write anything at any time and a store
 * that may fail in any way. Real: rings, parser, guest memory, queue, volume.
 */
export class RingsTarget implements FuzzTarget {
  readonly name = 'rings';
  readonly #random = new Random();
  readonly #world = new GuestWorld(this.#random);
  readonly #plan = new ChainPlan(this.#world, this.#random, SIZE / 512);
  readonly #guests: readonly RingGuest[] = [
    new SplitGuest(this.#world, this.#random),
    new PackedGuest(this.#world, this.#random),
  ];
  readonly #disks: readonly Disk[];
  readonly #reached = { chains: 0, requests: 0, malformed: 0, broken: 0, refused: 0, abandoned: 0 };
  readonly #busy = new Uint8Array(MAX_NUM);
  readonly #scheduled: (() => void)[] = [];
  #guest!: RingGuest;
  #disk!: Disk;
  #memory!: GuestMemory;
  #queue!: BlkQueue;
  #features = 0n;
  #num = 0;
  #taken = 0;
  #completed = 0;
  #takenThisTurn = 0;
  #broken: string | undefined;
  #ended: 'no' | 'stopped' | 'abandoned' = 'no';
  #problem: string | undefined;
  /** The guest changes memory while the device works. */
  #hasty = false;
  /** And adds a chain for each that is taken. */
  #endless = false;

  constructor() {
    const world = this.#world;
    const disk = (caps: object, blockSize = 512): Disk => {
      const info = { size: SIZE, caps: { concurrency: 'parallel', ...caps }, limits: { blockSize } } as const;
      const check = (segment: Uint8Array, access: number) => world.segmentProblem(segment, access);
      const device = new UnreliableDevice(this.#random, info, check);
      device.onCall = this.#interfere;
      const volume = new DiskVolume('fuzz', resolve(device, 'fuzz'), quietLogger);
      return {
        device,
        volume,
        offered: {
          split: offeredFeatures(volume.caps, { layout: 'split', eventIdx: true, indirect: true }),
          packed: offeredFeatures(volume.caps, { layout: 'packed', eventIdx: true, indirect: true }),
        },
        limits: Array.from({ length: MAX_NUM + 1 }, (_, num) => blkLimits(volume.caps, volume.limits, num)),
      };
    };
    this.#disks = [disk({}), disk({}), disk({}), disk({}), disk({ readOnly: true }), disk({}, 4096)];
    world.onProbe = this.#interfere;
  }

  reached(): Readonly<Record<string, number>> {
    return this.#reached;
  }

  [Symbol.dispose](): void {}

  async run(seed: number): Promise<void> {
    const random = this.#random;
    random.seed(seed);
    using _watching = watchVirtqueues(this);
    this.#begin();
    if (!this.#openQueue(this.#guest.geometry.state)) return;
    const steps = random.between(1, 6);
    for (let step = 0; step < steps; step++) {
      this.#act();
      if (random.oneIn(3)) await Promise.resolve();
      if (this.#queue.inFlight > this.#num) violated('more requests in flight than the queue has entries');
      if (random.oneIn(24) && this.#ended === 'no' && !(await this.#changeQueues())) break;
    }
    await this.#end();
  }

  #begin(): void {
    const random = this.#random;
    this.#memory = this.#world.reset(random.oneIn(2));
    this.#guest = random.pick(this.#guests);
    this.#disk = random.pick(this.#disks);
    this.#disk.device.quiet = false;
    this.#disk.device.writesLate = true;
    this.#disk.device.problem = undefined;
    this.#features = this.#disk.offered[this.#guest.layout];
    if (random.oneIn(2)) this.#features &= ~(1n << random.pick(LEFT_OUT));
    this.#busy.fill(0);
    this.#scheduled.length = 0;
    this.#taken = 0;
    this.#completed = 0;
    this.#broken = undefined;
    this.#ended = 'no';
    this.#problem = undefined;
    this.#hasty = random.oneIn(3);
    this.#endless = random.oneIn(64);
    if (random.oneIn(40)) this.#guest.resetBadly();
    else
      this.#guest.reset(random.pick(this.#guest.sizes), {
        eventIdx: this.#negotiated(EVENT_IDX),
        indirect: this.#negotiated(INDIRECT_DESC),
      });
    this.#num = this.#guest.geometry.num;
  }

  #negotiated(bit: bigint): boolean {
    return ((this.#features >> bit) & 1n) === 1n;
  }

  /** False: the ring was refused, as it may be where it makes no sense. */
  #openQueue(state: RingState): boolean {
    try {
      this.#queue = new BlkQueue({
        index: 0,
        ring: { ...this.#guest.geometry, state },
        memory: this.#memory,
        volume: this.#disk.volume,
        features: this.#features,
        serial: 'fuzz',
        limits: this.#disk.limits[this.#num] ?? this.#disk.limits[1]!,
        notify: () => undefined,
        schedule: (fn) => void this.#scheduled.push(fn),
        onBroken: this.#onBroken,
        onMalformed: () => void this.#reached.malformed++,
      });
      return true;
    } catch (error) {
      if (!GatewayError.is(error) || error.code !== 'virtio.bad-ring') throw error;
      if (this.#memory.pins !== 0) violated('a queue that was refused holds on to memory');
      this.#reached.refused++;
      return false;
    }
  }

  onTake(head: number): void {
    // The queue has to break over it: otherwise the head is given back twice.
    if (this.#busy[head] !== 0) return;
    this.#taken++;
    this.#reached.chains++;
    if (++this.#takenThisTurn > TURN) this.#problem ??= 'one turn took more than its share';
    if (this.#ended !== 'no') this.#problem ??= 'a queue that had ended took a request';
    this.#busy[head] = 1;
    this.#interfere();
  }

  onGive(head: number): void {
    if (this.#ended === 'abandoned') this.#problem ??= 'an abandoned queue gave a head back';
    if (this.#busy[head] !== 1) this.#problem ??= `head ${head} was given back without being taken`;
    this.#busy[head] = 0;
    const wrong = this.#world.ringsTargeted ? undefined : this.#guest.checkUsed(head, this.#completed);
    if (wrong !== undefined) this.#problem ??= wrong;
    this.#completed++;
  }

  /** One thing after the other that happens to a queue. */
  #act(): void {
    const random = this.#random;
    for (let chains = random.below(4); chains > 0; chains--) {
      this.#plan.makeUp();
      this.#guest.offer(this.#plan);
    }
    if (random.oneIn(10)) this.#guest.scribble();
    if (random.oneIn(10)) this.#world.flipData();
    if (random.oneIn(40)) this.#world.provide(random.below(2));
    this.#turn();
    for (let settled = random.below(4); settled > 0; settled--) this.#disk.device.settleOne();
    if (random.oneIn(4)) this.#continue();
  }

  #turn(): void {
    this.#takenThisTurn = 0;
    const corrupt = !this.#hasty && this.#scheduled.length === 0 && this.#guest.isTooFarAhead(this.#taken);
    this.#queue.process();
    if (corrupt && this.#broken === undefined && this.#ended === 'no' && !this.#world.ringsTargeted)
      this.#problem ??= 'a guest was believed that is further ahead than the ring is long';
  }

  #continue(): void {
    this.#takenThisTurn = 0;
    this.#scheduled.shift()?.();
  }

  /** The guest does something while the device is between two looks at its memory. */
  readonly #interfere = (): void => {
    if (!this.#hasty || this.#ended === 'abandoned') return;
    const random = this.#random;
    if (this.#endless || random.oneIn(12)) this.#guest.hurry();
    if (random.oneIn(16)) this.#guest.scribble();
    if (random.oneIn(8)) this.#world.flipData();
  };

  readonly #onBroken = (reason: string): void => {
    this.#reached.broken++;
    if (this.#broken !== undefined) this.#problem ??= `broken twice: ${this.#broken}, then ${reason}`;
    this.#broken = reason;
    if (this.#guest.honest && !this.#world.ringsTargeted)
      this.#problem ??= `broken although the guest did nothing to its ring: ${reason}`;
    if (!GUILT.test(reason)) this.#problem ??= `broken for a reason that is not the guest's: ${reason}`;
  };

  /** A pause, or a change of memory: the queue ends, and another goes on where it stopped. False: it had broken. */
  async #changeQueues(): Promise<boolean> {
    this.#ended = 'stopped';
    this.#queue.stop();
    await this.#drain();
    if (this.#broken !== undefined) return false;
    if (this.#random.oneIn(2)) {
      await this.#memory.retire();
      this.#memory = this.#world.newGeneration();
    }
    this.#ended = 'no';
    this.#disk.device.quiet = false;
    this.#scheduled.length = 0;
    return this.#openQueue(this.#queue.ringState);
  }

  async #end(): Promise<void> {
    const { device, volume } = this.#disk;
    const abandon = this.#random.oneIn(3);
    if (abandon) {
      this.#ended = 'abandoned';
      this.#reached.abandoned++;
      // What reads already has segments, and may write to them until the reset is answered.
      device.writesLate = false;
      this.#world.remember();
      this.#queue.abandon();
    } else {
      this.#ended = 'stopped';
      this.#queue.stop();
    }
    await this.#drain();
    if (abandon && !this.#world.isAsRemembered()) violated('an abandoned queue wrote to guest memory');
    if (device.problem !== undefined) violated(device.problem);
    if (volume.inFlight !== 0) violated(`${volume.inFlight} requests are still in flight in the volume`);
    await this.#memory.retire();
    this.#reached.requests += device.calls;
    device.calls = 0;
  }

  /** Lets everything end that is under way, and checks that it does, and how it ended. */
  async #drain(): Promise<void> {
    const { device } = this.#disk;
    let drained = false;
    const draining = this.#queue.drain().then(() => {
      drained = true;
    });
    if (this.#ended === 'abandoned') device.quiet = true;
    for (let patience = 0; !drained; patience++) {
      if (patience === PATIENCE) violated('draining does not settle');
      device.settleOne();
      if (this.#scheduled.length > 0) this.#continue();
      await Promise.resolve();
    }
    await draining;
    while (this.#scheduled.length > 0) this.#continue();
    this.#check();
  }

  #check(): void {
    if (this.#problem !== undefined) violated(this.#problem);
    if (this.#queue.inFlight !== 0) violated('requests are in flight after draining');
    if (this.#memory.pins !== 0) violated('memory is pinned after draining');
    this.#world.checkUntouched();
    if (this.#ended !== 'abandoned' && this.#taken !== this.#completed)
      violated(`${this.#taken} heads were taken and ${this.#completed} given back`);
    if (this.#world.ringsTargeted) return;
    const wrong =
      this.#guest.checkState(this.#queue.ringState, this.#taken, this.#broken) ??
      this.#guest.checkIntact() ??
      (this.#ended === 'abandoned' ? undefined : this.#guest.checkPublished(this.#completed));
    if (wrong !== undefined) violated(wrong);
  }
}
