import { setTimeout as delay } from 'node:timers/promises';
import { orThrow } from '../../../core/system/errno.ts';
import { linux } from '../../../core/system/libc.ts';
import { loopReactor } from '../../../core/system/reactor.ts';
import { BlkDriver, type SentRequest } from '../blk-driver.ts';
import { RingBuilder } from '../ring-builder.ts';
import { VHOST_BACKEND_F_IOTLB_BATCH, VHOST_BACKEND_F_IOTLB_MSG_V2 } from './abi.ts';
import { VhostVdpaDevice } from './device.ts';
import { GuestMemory } from './guest-memory.ts';

const MEMORY_BYTES = 4 * 2 ** 20;
const MEMORY_NAME = 'vhost-test-guest';
const BASE = 0x10_0000;
const QUEUE_SIZE = 64;
const SIZE_MAX = 65536;
const TIMEOUT_MS = 60_000;

const FLUSH = 1n << 9n;
const INDIRECT_DESC = 1n << 28n;
const EVENT_IDX = 1n << 29n;
const VERSION_1 = 1n << 32n;
/** ACCESS_PLATFORM is not among them, as with a guest without an IOMMU. */
const WANTED = FLUSH | INDIRECT_DESC | EVENT_IDX | VERSION_1;

const ACKNOWLEDGE = 1;
const DRIVER = 2;
const DRIVER_OK = 4;
const FEATURES_OK = 8;

export interface GuestCompletion {
  readonly status: number;
  readonly data: Uint8Array;
}

/** Of a request that was in flight at a reset. */
const FORGOTTEN: GuestCompletion = { status: -1, data: new Uint8Array(0) };

/** Lengths of the segments of a transfer, as the device limits them. */
const pieces = (length: number): number[] =>
  Array.from({ length: Math.ceil(length / SIZE_MAX) }, (_, i) => Math.min(SIZE_MAX, length - i * SIZE_MAX));

/**
 * A virtual machine as far as a disk sees it: one that has opened /dev/vhost-vdpa-N, given it its memory, and runs a
 * virtio-blk driver on one queue. It waits for interrupts and never polls.
 */
export class VhostGuest implements Disposable {
  readonly device: VhostVdpaDevice;
  readonly memory: GuestMemory;
  readonly features: bigint;
  readonly ring: RingBuilder;
  readonly blk: BlkDriver;
  readonly #owned = new DisposableStack();
  readonly #kickFd: number;
  #running = true;
  readonly #waiting = new Map<
    number,
    { request: SentRequest; done: (completion: GuestCompletion) => void }
  >();

  /** Opens the device and starts it. `base`: index of the first request. */
  constructor(path: string, base = 0) {
    this.memory = this.#owned.use(new GuestMemory(MEMORY_NAME, MEMORY_BYTES));
    this.device = this.#owned.use(new VhostVdpaDevice(path));
    this.device.backendFeatures = VHOST_BACKEND_F_IOTLB_MSG_V2 | VHOST_BACKEND_F_IOTLB_BATCH;
    this.features = this.device.features & WANTED;
    this.#kickFd = this.#eventfd();
    const callFd = this.#eventfd();
    this.ring = this.#newRing(base);
    this.blk = new BlkDriver(this.ring);
    this.#owned.use(
      loopReactor.watch(callFd, () => {
        linux.read(callFd, new Uint8Array(8));
        if (this.#running) this.#takeUsed();
      }),
    );
    this.#start(callFd, base);
  }

  /** Requests that the device has not answered yet, seen or not. */
  get unanswered(): number {
    return this.#waiting.size - ((this.ring.publishedIndex - this.ring.usedIndex) & 0xffff);
  }

  read(sector: number, length: number): Promise<GuestCompletion> {
    return this.#submit(this.blk.read(sector, length, { writable: pieces(length), indirect: true }));
  }

  write(sector: number, data: Uint8Array): Promise<GuestCompletion> {
    return this.#submit(
      this.blk.write(sector, data, { readable: [16, ...pieces(data.length)], indirect: true }),
    );
  }

  flush(): Promise<GuestCompletion> {
    return this.#submit(this.blk.flush());
  }

  /** Gives the device all of the memory, in two halves: a buffer may cross regions. */
  mapMemory(): void {
    const half = MEMORY_BYTES / 2;
    this.device.batch(() => {
      for (const at of [0, half]) this.device.map(this.#range(at, half));
    });
  }

  /** Changes what is mapped under the device's feet, several messages long, and ends with the map as it was. */
  remapMemory(): void {
    const half = MEMORY_BYTES / 2;
    const spare = BASE + 2 * MEMORY_BYTES;
    this.device.map({ ...this.#range(half, half), iova: spare });
    this.device.batch(() => {
      for (const at of [0, half]) this.device.unmap(BASE + at, half);
      for (const at of [0, half]) this.device.map(this.#range(at, half));
    });
    this.device.unmap(spare, half);
  }

  /** Resets the device; requests in flight end as `FORGOTTEN`. */
  reset(): void {
    this.device.status = 0;
    this.#forget();
  }

  /** Ends as a killed hypervisor does: the kernel resets the device. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
    this.#forget();
  }

  #forget(): void {
    // An interrupt from before the reset may come yet, and the rings are no rings any more.
    this.#running = false;
    for (const { done } of this.#waiting.values()) done(FORGOTTEN);
    this.#waiting.clear();
  }

  /** In the order of QEMU: VDUSE hears of DRIVER_OK, and of nothing else, so queues have to be enabled before. */
  #start(callFd: number, base: number): void {
    const { device, ring } = this;
    device.status = ACKNOWLEDGE;
    device.status = ACKNOWLEDGE | DRIVER;
    device.features = this.features;
    device.status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
    if ((device.status & FEATURES_OK) === 0) throw new Error('the device refuses the features');
    this.mapMemory();
    const { descAddr, driverAddr, deviceAddr, num } = ring.geometry;
    device.setQueueSize(0, num);
    device.setQueueAddresses(0, { desc: descAddr, avail: driverAddr, used: deviceAddr });
    device.setQueueBase(0, base);
    device.setKick(0, this.#kickFd);
    device.setCall(0, callFd);
    device.enableQueue(0);
    ring.enableInterrupts();
    device.status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
    if ((device.status & DRIVER_OK) === 0) throw new Error('the device did not start');
  }

  async #submit(request: SentRequest): Promise<GuestCompletion> {
    const timeout = new AbortController();
    const late = delay(TIMEOUT_MS, undefined, { signal: timeout.signal }).then(() => {
      throw new Error(`no answer within ${TIMEOUT_MS / 1000} s`);
    });
    const answered = new Promise<GuestCompletion>((done) => {
      this.#waiting.set(request.head, { request, done });
      if (this.ring.needsKick()) linux.write(this.#kickFd, new Uint8Array(BigUint64Array.of(1n).buffer));
    });
    try {
      return await Promise.race([answered, late]);
    } finally {
      timeout.abort();
      late.catch(() => {});
    }
  }

  #takeUsed(): void {
    do {
      for (const { head } of this.ring.takeAllUsed()) {
        const entry = this.#waiting.get(head);
        this.#waiting.delete(head);
        entry?.done({
          status: this.blk.status(entry.request),
          data: this.blk.payload(entry.request).slice(),
        });
      }
    } while (this.ring.enableInterrupts());
    if (this.#waiting.size === 0) this.ring.reuseMemory();
  }

  #newRing(index: number): RingBuilder {
    return new RingBuilder({ num: QUEUE_SIZE, index, base: BASE, buffer: this.memory.map.buffer });
  }

  #range(at: number, length: number) {
    return { iova: BASE + at, length, address: this.memory.map.address + at };
  }

  #eventfd(): number {
    const fd = orThrow('eventfd', linux.eventfd());
    this.#owned.defer(() => void linux.close(fd));
    return fd;
  }
}
