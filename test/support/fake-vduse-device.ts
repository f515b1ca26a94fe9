import { constants } from 'node:os';
import { type BounceSurroundings, FakeBounce } from './fake-bounce.ts';
import type { GuestRegion } from './guest-ram.ts';
import { type FakeControl, getFd2Of } from './kernel-generation.ts';

const { EAGAIN, EEXIST, EINVAL, ENOENT, ENOTTY, EPERM } = constants.errno;

// Numbers as the kernel's header gives them on x86-64, written out: they check those that the product computes.
const IOTLB_GET_FD = 0xc0208110;
const DEV_GET_FEATURES = 0x80088111;
const DEV_SET_CONFIG = 0x40088112;
const DEV_INJECT_CONFIG_IRQ = 0x00008113;
const VQ_SETUP = 0x40208114;
const VQ_GET_INFO = 0xc0308115;
const VQ_SETUP_KICKFD = 0x40088116;
const VQ_INJECT_IRQ = 0x40048117;
const MESSAGE_BYTES = 152;
const DRIVER_OK = 4;
const F_QUEUE_READY = 1n;
const F_SUSPEND = 2n;

export interface FakeQueue {
  maxSize: number;
  num: number;
  desc: number;
  driver: number;
  device: number;
  /** Four 16-bit words: available index, or counter and index of both positions of a packed ring. */
  state: readonly number[];
  ready: boolean;
  kickFd: number;
}

export interface FakeReply {
  readonly ok: boolean;
  /** GET_VQ_STATE: four 16-bit words, as in `FakeQueue`. */
  readonly vqState: readonly number[];
}

const FAILED: FakeReply = { ok: false, vqState: [0, 0, 0, 0] };

interface Message {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly reply: PromiseWithResolvers<FakeReply>;
}

/** What a device needs of the kernel around it. */
export interface FakeSurroundings extends BounceSurroundings {
  /** A new fd for a region of memory. */
  regionFd(region: GuestRegion): number;
  isEventfd(fd: number): boolean;
  /** The device became readable, or broke. */
  wake(device: FakeVduseDevice): void;
}

/** The kernel's side of one VDUSE device: its ioctls, its messages, and what the driver reads and writes. */
export class FakeVduseDevice {
  readonly name: string;
  readonly offered: bigint;
  readonly configSpace: Uint8Array;
  readonly queues: FakeQueue[];
  /** The kernel's copy of the status: what interrupts are checked against. */
  status = 0;
  features = 0n;
  readonly bounce: FakeBounce;
  /** The API version, and the VDUSE features, that it was made with. */
  readonly apiVersion: bigint;
  readonly vduseFeatures: bigint;
  /** Of address space 0. */
  regions: GuestRegion[] = [];
  /** Of address space 1, for a device that has more than one. */
  otherRegions: GuestRegion[] | undefined;
  suspended = false;
  attached = false;
  broken = false;
  opened = false;
  /** Interrupts that arrived, by queue. */
  readonly interrupts: number[];
  configInterrupts = 0;
  /** Interrupts that were refused because they came too early. */
  refusedInterrupts = 0;
  onInterrupt: (queue: number) => void = () => {};
  onReset: () => void = () => {};
  readonly #surroundings: FakeSurroundings;
  readonly #getFd2: number | undefined;
  #unread: Message[] = [];
  #unanswered: Message[] = [];
  #nextId = 0;

  constructor(config: Uint8Array, control: FakeControl, surroundings: FakeSurroundings) {
    const view = new DataView(config.buffer, config.byteOffset, config.length);
    this.name = new TextDecoder().decode(config.subarray(0, config.indexOf(0)));
    this.offered = view.getBigUint64(264, true);
    this.configSpace = config.slice(336, 336 + view.getUint32(332, true));
    this.queues = Array.from({ length: view.getUint32(272, true) }, emptyQueue);
    this.interrupts = this.queues.map(() => 0);
    this.apiVersion = control.version;
    this.vduseFeatures = control.features;
    this.#getFd2 = this.apiVersion === 0n ? undefined : getFd2Of(control.generation);
    this.#surroundings = surroundings;
    this.bounce = new FakeBounce(surroundings);
  }

  get readable(): boolean {
    return this.#unread.length > 0;
  }

  /** Sends SET_STATUS as a thread of the kernel does: waits for the answer, then takes note of the status. */
  async setStatus(status: number): Promise<boolean> {
    if (status === 0) this.onReset();
    const { ok } = await this.send(1, (view) => view.setUint8(24, status));
    // The thread that waits has to wake up first: until then nothing has changed.
    await new Promise((resolve) => setImmediate(resolve));
    if (status === 0) this.#reset();
    if (ok) this.status = status;
    return ok;
  }

  async vqState(index: number): Promise<FakeReply> {
    return await this.send(0, (view) => view.setUint32(24, index, true));
  }

  async updateIotlb(asid = 0): Promise<boolean> {
    const reply = await this.send(2, (view) => {
      view.setBigUint64(24, 0n, true);
      view.setBigUint64(32, 0xffff_ffff_ffff_ffffn, true);
      if (this.apiVersion > 0n) view.setUint32(40, asid, true);
    });
    return reply.ok;
  }

  async setGroupAsid(group: number, asid: number): Promise<boolean> {
    if (this.apiVersion === 0n) return false;
    const reply = await this.send(3, (view) => {
      view.setUint32(24, group, true);
      view.setUint32(28, asid, true);
    });
    return reply.ok;
  }

  /** The kernel says so only to those that wanted to know, and cannot use a device that does not hear of it. */
  async setVqReady(index: number, ready: boolean): Promise<void> {
    this.queues[index]!.ready = ready;
    if ((this.vduseFeatures & F_QUEUE_READY) === 0n) return;
    const { ok } = await this.send(4, (view) => {
      view.setUint32(24, index, true);
      view.setUint32(28, ready ? 1 : 0, true);
    });
    if (!ok) this.break();
  }

  /** False: not possible, or refused. */
  async suspend(): Promise<boolean> {
    if ((this.vduseFeatures & F_SUSPEND) === 0n) return false;
    const { ok } = await this.send(5, () => {});
    if (ok) this.suspended = true;
    return ok;
  }

  send(type: number, payload: (view: DataView) => void): Promise<FakeReply> {
    const bytes = new Uint8Array(MESSAGE_BYTES);
    const view = new DataView(bytes.buffer);
    const id = this.#nextId++;
    view.setUint32(0, type, true);
    view.setUint32(4, id, true);
    payload(view);
    const reply = Promise.withResolvers<FakeReply>();
    if (this.broken) reply.resolve(FAILED);
    else this.#unread.push({ id, bytes, reply });
    this.#surroundings.wake(this);
    return reply.promise;
  }

  /** A message was not answered in time: nothing works any more. */
  break(): void {
    this.broken = true;
    for (const { reply } of [...this.#unread.splice(0), ...this.#unanswered.splice(0)]) reply.resolve(FAILED);
    this.#surroundings.wake(this);
  }

  /** Gives up waiting for an answer, as when the thread that waits is killed. */
  forgetMessages(): void {
    this.#unanswered = [];
  }

  read(buffer: Uint8Array): number {
    if (buffer.length < MESSAGE_BYTES) return -EINVAL;
    const message = this.#unread.shift();
    if (message === undefined) return -EAGAIN;
    buffer.set(message.bytes);
    this.#unanswered.push(message);
    return MESSAGE_BYTES;
  }

  write(bytes: Uint8Array): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (bytes.length < MESSAGE_BYTES || bytes.subarray(8, 24).some((byte) => byte !== 0)) return -EINVAL;
    const index = this.#unanswered.findIndex(({ id }) => id === view.getUint32(0, true));
    if (index < 0) return -ENOENT;
    const [message] = this.#unanswered.splice(index, 1);
    const vqState = [28, 30, 32, 34].map((at) => view.getUint16(at, true));
    message!.reply.resolve({ ok: view.getUint32(4, true) === 0, vqState });
    return MESSAGE_BYTES;
  }

  /** The process that had it open is gone: what it did not answer comes again, to the next one. */
  closed(): void {
    this.opened = false;
    this.bounce.deregister();
    this.#unread = [...this.#unanswered.splice(0), ...this.#unread];
  }

  ioctl(request: number, argument: Uint8Array | undefined): number {
    if (this.broken) return -EPERM;
    const view = argument && new DataView(argument.buffer, argument.byteOffset, argument.length);
    switch (request) {
      case DEV_INJECT_CONFIG_IRQ:
        if (this.suspended || (this.status & DRIVER_OK) === 0) return -EINVAL;
        this.configInterrupts++;
        return 0;
      case DEV_GET_FEATURES:
        view!.setBigUint64(0, this.features, true);
        return 0;
      case DEV_SET_CONFIG:
        return this.#setConfig(view!, argument!);
      case IOTLB_GET_FD:
        return this.#getFd(view!, this.regions);
      case VQ_SETUP:
      case VQ_GET_INFO:
      case VQ_SETUP_KICKFD:
      case VQ_INJECT_IRQ:
        return this.#queueIoctl(request, view!);
      default:
        if (request === this.#getFd2) return this.#getFdOfSpace(view!);
        return this.bounce.ioctl(request, view!) ?? -ENOTTY;
    }
  }

  #setConfig(view: DataView, argument: Uint8Array): number {
    const offset = view.getUint32(0, true);
    const length = view.getUint32(4, true);
    if (length === 0 || offset + length > this.configSpace.length) return -EINVAL;
    this.configSpace.set(argument.subarray(8, 8 + length), offset);
    return 0;
  }

  /** `struct vduse_iotlb_entry_v2`, in either of its two sizes. */
  #getFdOfSpace(view: DataView): number {
    const reserved = new Uint8Array(view.buffer, view.byteOffset + 36, view.byteLength - 36);
    const regions = [this.regions, this.otherRegions][view.getUint32(32, true)];
    if (regions === undefined || reserved.some((byte) => byte !== 0)) return -EINVAL;
    return this.#getFd(view, regions);
  }

  /** The first region that overlaps [start, last], by its lowest address. */
  #getFd(view: DataView, regions: readonly GuestRegion[]): number {
    const start = Number(view.getBigUint64(8, true));
    const last = Number(view.getBigUint64(16, true));
    const region = regions.find((candidate) => candidate.start <= last && candidate.last >= start);
    if (start > last || region === undefined) return -EINVAL;
    view.setBigUint64(0, BigInt(region.offset), true);
    view.setBigUint64(8, BigInt(region.start), true);
    view.setBigUint64(16, BigInt(region.last), true);
    view.setUint8(24, region.perm);
    return this.#surroundings.regionFd(region);
  }

  #queueIoctl(request: number, view: DataView): number {
    const index = view.getUint32(0, true);
    const queue = this.queues[index];
    if (queue === undefined) return -EINVAL;
    switch (request) {
      case VQ_SETUP:
        return this.#setup(queue, view);
      case VQ_GET_INFO:
        view.setUint32(4, queue.num, true);
        view.setBigUint64(8, BigInt(queue.desc), true);
        view.setBigUint64(16, BigInt(queue.driver), true);
        view.setBigUint64(24, BigInt(queue.device), true);
        for (const [i, word] of queue.state.entries()) view.setUint16(32 + 2 * i, word, true);
        view.setUint8(40, queue.ready ? 1 : 0);
        return 0;
      case VQ_SETUP_KICKFD:
        if (!this.#surroundings.isEventfd(view.getInt32(4, true))) return -EINVAL;
        queue.kickFd = view.getInt32(4, true);
        return 0;
      default:
        return this.#inject(index);
    }
  }

  /** Everything but index and size is zero: it is reserved, or the group, of which there is one. */
  #setup(queue: FakeQueue, view: DataView): number {
    for (let at = 6; at < 32; at++) if (view.getUint8(at) !== 0) return -EINVAL;
    if (this.apiVersion > 0n && (this.status & DRIVER_OK) !== 0) return -EINVAL;
    queue.maxSize = view.getUint16(4, true);
    return 0;
  }

  #inject(index: number): number {
    if (this.suspended || (this.status & DRIVER_OK) === 0) {
      this.refusedInterrupts++;
      return -EINVAL;
    }
    this.interrupts[index]!++;
    // From a work queue, so not before the system call returns.
    setImmediate(() => this.onInterrupt(index));
    return 0;
  }

  #reset(): void {
    this.status = 0;
    this.features = 0n;
    this.suspended = false;
    this.regions = [];
    this.bounce.mapped = false;
    for (const queue of this.queues) Object.assign(queue, emptyQueue(), { maxSize: queue.maxSize });
  }
}

function emptyQueue(): FakeQueue {
  const state = [0, 0, 0, 0];
  return { maxSize: 0, num: 0, desc: 0, driver: 0, device: 0, state, ready: false, kickFd: -1 };
}

/** Checks of VDUSE_CREATE_DEV: 0, or minus the errno. */
export function checkDeviceConfig(
  config: Uint8Array,
  apiVersion: bigint,
  exists: (name: string) => boolean,
): number {
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  const name = new TextDecoder().decode(config.subarray(0, config.indexOf(0)));
  const features = view.getBigUint64(264, true);
  const align = view.getUint32(276, true);
  // Groups of queues and address spaces, which version 0 does not have.
  const counts = [280, 284].map((at) => view.getUint32(at, true));
  const bad =
    name === '' ||
    counts.some((count) => (apiVersion === 0n ? count !== 0 : count < 1 || count > 0xffff)) ||
    config.subarray(288, 332).some((byte) => byte !== 0) ||
    view.getUint32(260, true) !== 2 ||
    ((features >> 33n) & 1n) === 0n ||
    ((features >> 11n) & 1n) === 1n ||
    align < 4 ||
    align > 4096 ||
    (align & (align - 1)) !== 0 ||
    view.getUint32(332, true) > 4096;
  if (bad) return -EINVAL;
  return exists(name) ? -EEXIST : 0;
}
