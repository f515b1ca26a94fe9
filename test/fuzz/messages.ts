import { join } from 'node:path';
import { resolve } from '../../core/block/resolve.ts';
import { DiskVolume } from '../../core/block/volume.ts';
import { ControlDevice } from '../../frontends/vduse/control-device.ts';
import { VduseDevice } from '../../frontends/vduse/device.ts';
import { inFlightPath } from '../../frontends/vduse/host-paths.ts';
import { InFlightFile, provideInFlightFile } from '../../frontends/vduse/inflight-file.ts';
import { decodeRequest, describeRequest, encodeReply } from '../../frontends/vduse/messages.ts';
import { QueueSet } from '../../frontends/vduse/queue-set.ts';
import { Session } from '../../frontends/vduse/session.ts';
import { offeredFeatures, ringLayout } from '../../frontends/virtio/blk/features.ts';
import { blkLimits } from '../../frontends/virtio/blk/limits.ts';
import type { RingState } from '../../frontends/virtio/virtq/ring-state.ts';
import { FakeKernel } from '../support/fake-kernel.ts';
import type { FakeVduseDevice } from '../support/fake-vduse-device.ts';
import { GuestRam, type GuestRegion } from '../support/guest-ram.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { ChainPlan } from './chain-plan.ts';
import { GuestWorld, REGIONS, WORLD_BYTES } from './guest-world.ts';
import { PackedGuest } from './packed-guest.ts';
import { Random } from './random.ts';
import type { RingGuest } from './ring-guest.ts';
import { SplitGuest } from './split-guest.ts';
import { type FuzzTarget, quietLogger, violated } from './target.ts';
import { UnreliableDevice } from './unreliable-device.ts';
import { VirtualTimers } from './virtual-timers.ts';

const SIZE = 2 ** 18;
const NAME = 'fuzz';
const QUEUES = 2;
const QUEUE_SIZE = 32;
const PAGE = 4096;
/** Turns of the event loop in which every message has to be answered, once the store holds nothing up. */
const PATIENCE = 500;
const TURN_MS = 0.5;
const STATUSES: readonly number[] = [0, 0, 1, 3, 0x0b, 0x0b, 0x0f, 0x0f, 0x0f, 0x4f, 0x8f, 0x83, 0x80];

/**
 * A session of the vduse frontend against a kernel that sends any message at any time, about a driver that chooses any
 * features and any rings. Real: everything of the frontend below `attachDisk`, and memory whose absent pages raise
 * SIGBUS.
 */
export class MessagesTarget implements FuzzTarget {
  readonly name = 'messages';
  readonly #random = new Random();
  readonly #temp = tempFolder();
  readonly #kernel = new FakeKernel(this.#temp.path);
  readonly #ram = new GuestRam(this.#temp.path, WORLD_BYTES);
  readonly #world = new GuestWorld(this.#random, this.#ram.buffer);
  readonly #plan = new ChainPlan(this.#world, this.#random, SIZE / 512);
  readonly #guests: Readonly<Record<RingState['layout'], RingGuest>> = {
    split: new SplitGuest(this.#world, this.#random),
    packed: new PackedGuest(this.#world, this.#random),
  };
  readonly #store = new UnreliableDevice(
    this.#random,
    { size: SIZE, caps: { concurrency: 'parallel' } },
    () => undefined,
  );
  readonly #volume = new DiskVolume(NAME, resolve(this.#store, NAME), quietLogger);
  readonly #offered: Readonly<Record<RingState['layout'], bigint>>;
  readonly #regions: readonly GuestRegion[];
  readonly #reached = { messages: 0, started: 0, requests: 0, 'taken away': 0, adopted: 0 };
  #layout: RingState['layout'] = 'split';
  readonly #device: FakeVduseDevice;
  readonly #inFlight: InFlightFile;
  #vduse!: VduseDevice;
  #session!: Session;
  #timers!: VirtualTimers;
  #sent = 0;
  #replies = 0;
  #answered = 0;
  #broken = false;

  constructor() {
    const { caps } = this.#volume;
    this.#offered = {
      split: offeredFeatures(caps, { layout: 'split', eventIdx: true, indirect: true }),
      packed: offeredFeatures(caps, { layout: 'packed', eventIdx: true, indirect: true }),
    };
    const { syscalls, paths } = this.#kernel;
    using control = new ControlDevice(syscalls, join(paths.dev, 'vduse/control'));
    const configSpace = new Uint8Array(96);
    control.create({ name: NAME, features: this.#offered.split, queues: QUEUES, configSpace });
    this.#device = this.#kernel.devices.get(NAME)!;
    const file = inFlightPath(paths, NAME);
    const logs = { queues: QUEUES, queueSize: QUEUE_SIZE };
    provideInFlightFile(file, { ...logs, keep: false });
    this.#inFlight = new InFlightFile({ syscalls, path: file, ...logs });
    const ram = this.#ram;
    const regions = REGIONS.map(({ iova, length, offset, access }) => ({
      start: iova,
      last: iova + length - 1,
      offset,
      perm: access,
      ram,
    }));
    // Behind the last but two: a region that its file does not reach, as bounce memory has pages that are nowhere.
    const before = regions.at(-3)!;
    const absent = {
      start: before.last + 1,
      last: before.last + 4 * PAGE,
      offset: WORLD_BYTES,
      perm: 3,
      ram,
    };
    this.#regions = [...regions, absent];
    this.#kernel.intercept = (call) => {
      if (call === 'write') this.#replies++;
      return undefined;
    };
  }

  reached(): Readonly<Record<string, number>> {
    return this.#reached;
  }

  [Symbol.dispose](): void {
    this.#inFlight[Symbol.dispose]();
    this.#kernel[Symbol.dispose]();
    this.#ram[Symbol.dispose]();
    this.#temp[Symbol.dispose]();
  }

  async run(seed: number): Promise<void> {
    const random = this.#random;
    random.seed(seed);
    using timers = new VirtualTimers();
    this.#timers = timers;
    this.#decodeAnything();
    this.#begin();
    for (let steps = random.between(2, 16); steps > 0; steps--) {
      await this.#act();
      for (let turns = random.below(3); turns > 0; turns--) await this.#turn();
    }
    await this.#end();
  }

  /** Whatever bytes the kernel sends. */
  #decodeAnything(): void {
    const random = this.#random;
    const bytes = new Uint8Array(random.oneIn(4) ? random.below(200) : 152);
    for (let i = 0; i < bytes.length; i += random.between(1, 24)) bytes[i] = random.u32();
    if (random.oneIn(2)) bytes.fill(0, 1, 4);
    const request = decodeRequest(bytes);
    if ((request === undefined) !== bytes.length < 152) violated('a message of any length is understood');
    if (request === undefined) return;
    if (describeRequest(request) === '') violated('a message has no description');
    const reply = encodeReply(request.id, { ok: random.oneIn(2) });
    if (reply.length !== 152 || reply.subarray(8, 24).some((byte) => byte !== 0))
      violated('a reply that the kernel refuses');
  }

  #begin(): void {
    const random = this.#random;
    void this.#world.reset(random.oneIn(2)).retire();
    this.#world.provide(0);
    this.#world.provide(1);
    this.#layout = random.oneIn(2) ? 'split' : 'packed';
    this.#replug();
    for (const guest of Object.values(this.#guests))
      guest.reset(QUEUE_SIZE, { eventIdx: true, indirect: true });
    this.#store.problem = undefined;
    this.#sent = 0;
    this.#replies = 0;
    this.#answered = 0;
    this.#broken = false;
    const { syscalls, reactor, paths } = this.#kernel;
    this.#vduse = VduseDevice.open(syscalls, join(paths.dev, 'vduse', NAME), NAME);
    this.#inFlight.clear();
    const lost = Promise.withResolvers<unknown>();
    const context = {
      device: this.#vduse,
      syscalls,
      reactor,
      logger: quietLogger,
      volume: this.#volume,
      limits: blkLimits(this.#volume.caps, this.#volume.limits, QUEUE_SIZE),
      serial: NAME,
      inFlight: this.#inFlight,
      onBroken: lost.resolve,
      spinUs: 0,
    };
    this.#session = new Session({
      device: this.#vduse,
      reactor,
      logger: quietLogger,
      openQueues: (features, infos) => new QueueSet(context, features, infos),
      inFlight: this.#inFlight,
      lost: lost.promise,
      offeredFeatures: this.#offered[this.#layout],
      queues: QUEUES,
      // A store that keeps everybody waiting is taken at its word once in a while.
      drainTimeoutMs: random.oneIn(100) ? 1 : 20_000,
    });
    if (random.oneIn(4)) this.#chooseRings();
    // Messages may have waited for somebody to open the device.
    if (random.oneIn(4)) this.#send();
    this.#session.start();
    if (random.oneIn(4)) this.#adopt();
  }

  async #act(): Promise<void> {
    const random = this.#random;
    switch (random.below(12)) {
      case 0:
      case 1:
        this.#send();
        break;
      case 2:
      case 3:
        await this.#startDriver();
        break;
      case 4:
      case 5:
      case 6:
        this.#useRing();
        break;
      case 7:
        await this.#reset();
        break;
      case 8:
        if (random.oneIn(2)) this.#send();
        if (random.oneIn(2)) await this.#turn();
        void this.#session.pause();
        break;
      case 9:
        // Somewhere in the middle of what is under way.
        if (random.oneIn(2)) this.#store.settleOne();
        for (let steps = random.below(8); steps > 0; steps--) await Promise.resolve();
        this.#session.resume();
        break;
      case 10:
        if (random.oneIn(30)) this.#break();
        else if (!this.#session.driving || random.oneIn(4)) this.#chooseRings();
        break;
      default:
        if (random.oneIn(4)) this.#device.forgetMessages();
    }
    for (let settled = random.below(3); settled > 0; settled--) this.#store.settleOne();
  }

  /** Any message, without waiting for the answers to others. */
  #send(): void {
    const random = this.#random;
    const device = this.#device;
    switch (random.below(6)) {
      case 0:
        this.#count(device.vqState(random.oneIn(4) ? random.u32() : random.below(QUEUES)));
        break;
      case 1:
        this.#count(device.updateIotlb());
        break;
      case 2:
        this.#count(device.send(random.oneIn(2) ? random.below(8) : random.u32(), () => undefined));
        break;
      default: {
        const status = random.oneIn(6) ? random.below(256) : random.pick(STATUSES);
        this.#count(device.setStatus(status));
      }
    }
  }

  /** As Linux does it. */
  async #startDriver(): Promise<void> {
    if (this.#session.driving) return;
    this.#chooseRings();
    for (const status of [1, 3, 0x0b, 0x0f]) this.#count(this.#device.setStatus(status));
    for (let turns = 0; turns < 8; turns++) await this.#turn();
    if (!this.#session.driving) return;
    this.#reached.started++;
    this.#useRing();
  }

  /** When a reset is answered, nothing touches the driver's memory any more. */
  async #reset(): Promise<void> {
    const { detachments } = this.#kernel;
    let answered = false;
    const reset = this.#device.setStatus(0).then(() => {
      answered = true;
    });
    this.#count(reset);
    for (let patience = 0; !answered; patience++) {
      if (patience === PATIENCE) violated('a reset is not answered');
      this.#store.settleOne();
      await this.#turn();
    }
    // A device that is broken has answered by itself.
    if (this.#broken) return;
    this.#world.remember();
    while (this.#store.pending > 0) this.#store.settleOne();
    for (let turns = 0; turns < 3; turns++) await this.#turn();
    if (!this.#world.isAsRemembered())
      violated('memory of the driver has changed after the answer to its reset');
    this.#reached['taken away'] += this.#kernel.detachments - detachments;
  }

  /** What the driver chose, which the kernel tells when it is asked; the memory appears with it. */
  #chooseRings(): void {
    const random = this.#random;
    const device = this.#device;
    let features = this.#offered[this.#layout];
    if (random.oneIn(3)) features &= ~(1n << BigInt(random.below(40)));
    if (random.oneIn(30)) features = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
    device.features = features;
    const guest = this.#guests[ringLayout(features)];
    if (random.oneIn(20)) guest.resetBadly();
    else guest.reset(random.pick(guest.sizes), { eventIdx: true, indirect: true });
    const { num, descAddr, driverAddr, deviceAddr, state } = guest.geometry;
    for (const [index, queue] of device.queues.entries()) {
      queue.num = num;
      queue.desc = descAddr;
      queue.driver = driverAddr;
      queue.device = deviceAddr;
      queue.state = words(state);
      // Two queues on one ring would be an error of this program, not of the driver's.
      queue.ready = index === 0 ? !random.oneIn(20) : false;
    }
    device.regions = random.oneIn(20) ? [] : [...this.#regions];
  }

  #useRing(): void {
    const random = this.#random;
    const guest = this.#guests[ringLayout(this.#device.features)];
    // Descriptors of another layout, or of a ring that is none, would be no more than noise.
    if (guest.geometry.num === 0 || !guest.sizes.includes(guest.geometry.num)) return;
    for (let chains = random.between(1, 3); chains > 0; chains--) {
      this.#plan.makeUp();
      guest.offer(this.#plan);
    }
    if (random.oneIn(10)) guest.scribble();
    this.#kernel.kick(this.#device.queues[0]!.kickFd);
  }

  #adopt(): void {
    void this.#session.adopt().then(
      (adopted) => {
        if (adopted) this.#reached.adopted++;
      },
      (error: unknown) => {
        // It says why not, which is all that can be asked of it.
        if (!(error instanceof Error)) violated('an adoption failed with something that is no error');
      },
    );
  }

  #break(): void {
    this.#broken = true;
    this.#device.break();
  }

  #count(reply: Promise<unknown>): void {
    this.#sent++;
    this.#reached.messages++;
    void reply.then(() => this.#answered++);
  }

  async #end(): Promise<void> {
    // Whoever was forgotten waits for ever; all others get their answer.
    for (let patience = 0; this.#device.readable; patience++) {
      if (patience === PATIENCE && !this.#broken) violated('messages are not read');
      if (this.#broken) break;
      this.#store.settleOne();
      await this.#turn();
    }
    let ended = false;
    const ending = this.#session[Symbol.asyncDispose]().then(() => {
      ended = true;
    });
    for (let patience = 0; !ended || this.#volume.inFlight > 0; patience++) {
      if (patience === PATIENCE) violated('the session does not end');
      this.#store.settleOne();
      await this.#turn();
    }
    await ending;
    this.#vduse[Symbol.dispose]();
    if (this.#replies > this.#sent) violated(`${this.#replies} answers to ${this.#sent} messages`);
    if (this.#store.problem !== undefined) violated(this.#store.problem);
    this.#world.checkUntouched();
    // The log of requests in flight is there for all runs.
    const leaks = this.#kernel.leaks.filter((leak) => leak !== '1 mappings of files');
    if (leaks.length > 0) violated(`left behind: ${leaks.join(', ')}`);
    const reason = await this.#session.broken;
    if (reason !== undefined && !this.#broken) violated(`the session broke: ${reason.message}`);
    // Whoever sent a message takes note of the answer a turn later.
    for (let turns = 0; turns < 3; turns++) await this.#turn();
    this.#reached.requests += this.#store.calls;
    this.#store.calls = 0;
  }

  /** The rest of the event loop gets its turn, and a moment passes. */
  async #turn(): Promise<void> {
    this.#timers.advance(TURN_MS);
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** As if the device had been destroyed and made again. */
  #replug(): void {
    const device = this.#device;
    // Nobody gets an answer any more.
    device.break();
    device.broken = false;
    device.status = 0;
    device.features = 0n;
    device.regions = [];
    for (const queue of device.queues) {
      queue.num = 0;
      queue.ready = false;
      queue.kickFd = -1;
    }
  }
}

/** As the kernel reports where a driver starts: four 16-bit words. */
function words(state: RingState): number[] {
  if (state.layout === 'split') return [state.availIndex, 0, 0, 0];
  const { avail, used } = state;
  return [avail.wrap, avail.index, used.wrap, used.index];
}
