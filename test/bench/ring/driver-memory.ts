import { MemoryMap, PROT_READ, PROT_WRITE } from '../../../core/system/memory-map.ts';
import { GuestMemory } from '../../../frontends/virtio/memory/guest-memory.ts';
import { Access, Mapping } from '../../../frontends/virtio/memory/mapping.ts';
import type { RingGeometry } from '../../../frontends/virtio/virtq/virtqueue.ts';

/** layout.h */
export const RING_SIZE = 512;
const MEMORY_FD = 3;
const FIRST_QUEUE_FD = 4;
const PAGE = 4096;
const CONTROL = { STOP: 0, MEMORY_SIZE: 8, QUEUES: 16, QUEUE_BYTES: 24 };

/** What layout.h says about the memory and the descriptors that this process has inherited from driver.c. */
export class DriverMemory {
  readonly guest: GuestMemory;
  readonly #control: DataView;

  constructor() {
    this.#control = new DataView(new MemoryMap(MEMORY_FD, 0, PAGE, PROT_READ).buffer);
    const length = this.#u64(CONTROL.MEMORY_SIZE);
    const map = new MemoryMap(MEMORY_FD, 0, length, PROT_READ | PROT_WRITE);
    const all = new Mapping({ iova: 0, length, access: Access.READ_WRITE, buffer: map.buffer });
    this.guest = new GuestMemory((iova) => (iova < length ? all : undefined));
  }

  get stopped(): boolean {
    return this.#control.getUint32(CONTROL.STOP, true) !== 0;
  }

  ring(index: number): RingGeometry {
    const at = CONTROL.QUEUES + index * CONTROL.QUEUE_BYTES;
    return {
      num: RING_SIZE,
      descAddr: this.#u64(at),
      driverAddr: this.#u64(at + 8),
      deviceAddr: this.#u64(at + 16),
      availIndex: 0,
    };
  }

  kickFd(index: number): number {
    return FIRST_QUEUE_FD + 2 * index;
  }

  interruptFd(index: number): number {
    return FIRST_QUEUE_FD + 2 * index + 1;
  }

  #u64(at: number): number {
    return Number(this.#control.getBigUint64(at, true));
  }
}
