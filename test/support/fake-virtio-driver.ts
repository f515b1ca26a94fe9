import { BlkDriver, type Framing, type SentRequest } from './blk-driver.ts';
import type { DriverRing } from './driver-ring.ts';
import type { FakeVduseDevice } from './fake-vduse-device.ts';
import { GuestRam } from './guest-ram.ts';
import { makeRing } from './make-ring.ts';
import { PackedRingBuilder } from './packed-ring-builder.ts';
import { RingBuilder } from './ring-builder.ts';

const RING_BYTES = 2 ** 17;
/** Of the bounce memory: the pages that the driver uses. There are none behind them. */
const RAM_BYTES = 4 * 2 ** 20;
/** Where VDUSE puts rings, above the bounce memory that starts at 0. */
const RING_BASE = 0x4000_0000;
const EVENT_IDX = 29n;
const RING_PACKED = 34n;

export interface Completion {
  readonly status: number;
  readonly data: Uint8Array;
  /** Bytes the device says it has written. */
  readonly written: number;
}

/** A virtio-blk driver on one queue, as Linux' behaves: waits for interrupts, never polls. */
export class FakeVirtioDriver implements Disposable {
  readonly ring: DriverRing;
  readonly blk: BlkDriver;
  readonly #device: FakeVduseDevice;
  readonly #ram: GuestRam;
  readonly #bounce: GuestRam;
  readonly #kick: (fd: number) => void;
  readonly #waiting = new Map<number, { request: SentRequest; done: (completion: Completion) => void }>();
  readonly #idle: (() => void)[] = [];

  /** Sets the queue up; the device sees it with DRIVER_OK. */
  constructor(device: FakeVduseDevice, folder: string, kick: (fd: number) => void) {
    this.#device = device;
    this.#kick = kick;
    this.#ram = new GuestRam(folder, RING_BYTES);
    this.#bounce = new GuestRam(folder, RAM_BYTES);
    device.bounce.ram = this.#bounce;
    const queue = device.queues[0]!;
    const chosen = (bit: bigint) => ((device.features >> bit) & 1n) === 1n;
    this.ring = makeRing(chosen(RING_PACKED) ? 'packed' : 'split', {
      num: queue.maxSize,
      buffer: this.#ram.buffer,
      base: RING_BASE,
      heap: () => device.bounce.bytes.subarray(0, RAM_BYTES),
      eventIdx: chosen(EVENT_IDX),
    });
    this.blk = new BlkDriver(this.ring);
    const { num, descAddr, driverAddr, deviceAddr } = this.ring.geometry;
    Object.assign(queue, {
      num,
      desc: descAddr,
      driver: driverAddr,
      device: deviceAddr,
      // Both wrap counters of a packed ring start at 1.
      state: chosen(RING_PACKED) ? [1, 0, 1, 0] : [0, 0, 0, 0],
      ready: true,
    });
    device.regions = this.ring.parts.map(({ start, last }) => ({
      start,
      last,
      offset: start - RING_BASE,
      perm: 3,
      ram: this.#ram,
    }));
    device.onInterrupt = () => this.#takeUsed();
    // After a reset nobody answers any more.
    device.onReset = () => this.#waiting.clear();
    this.ring.enableInterrupts();
  }

  /** The ring, if it is a split one. */
  get split(): RingBuilder {
    if (this.ring instanceof RingBuilder) return this.ring;
    throw new Error('the ring is packed');
  }

  /** The ring, if it is a packed one. */
  get packed(): PackedRingBuilder {
    if (this.ring instanceof PackedRingBuilder) return this.ring;
    throw new Error('the ring is split');
  }

  get outstanding(): number {
    return this.#waiting.size;
  }

  read(sector: number, length: number, framing?: Framing): Promise<Completion> {
    return this.submit(this.blk.read(sector, length, framing));
  }

  write(sector: number, data: Uint8Array, framing?: Framing): Promise<Completion> {
    return this.submit(this.blk.write(sector, data, framing));
  }

  /** Notifies the device of a request that is in the ring, and waits for its completion. */
  submit(request: SentRequest): Promise<Completion> {
    this.mapData();
    return new Promise((done) => {
      this.#waiting.set(request.head, { request, done });
      this.notify();
    });
  }

  /** Kicks, if the device wants to be kicked. */
  notify(): void {
    const { queues, suspended } = this.#device;
    if (this.ring.needsKick() && !suspended) this.#kick(queues[0]!.kickFd);
  }

  /** Data appears in the IOTLB with the first request, and not before. */
  mapData(): void {
    const { bounce, regions } = this.#device;
    if (bounce.mapped) return;
    bounce.mapped = true;
    regions.push({ start: 0, last: bounce.size - 1, offset: 0, perm: 3, ram: this.#bounce });
  }

  /** Settles when no request is outstanding. */
  drained(): Promise<void> {
    if (this.#waiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  [Symbol.dispose](): void {
    this.#device.onInterrupt = () => {};
    this.#device.onReset = () => {};
    this.#ram[Symbol.dispose]();
    this.#bounce[Symbol.dispose]();
  }

  #takeUsed(): void {
    do {
      for (const { head, written } of this.ring.takeAllUsed()) {
        const entry = this.#waiting.get(head);
        if (entry === undefined) continue;
        this.#waiting.delete(head);
        entry.done({
          status: this.blk.status(entry.request),
          data: this.blk.payload(entry.request).slice(),
          written,
        });
      }
    } while (this.ring.enableInterrupts());
    if (this.#waiting.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
