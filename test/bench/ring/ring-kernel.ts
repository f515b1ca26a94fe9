import { linux } from '../../../core/system/libc.ts';
import { MemoryMap, PROT_READ } from '../../../core/system/memory-map.ts';
import type { Syscalls } from '../../../core/system/syscalls.ts';
import {
  IotlbEntry,
  VDUSE_IOTLB_GET_FD,
  VDUSE_VQ_INJECT_IRQ,
  VDUSE_VQ_SETUP_KICKFD,
} from '../../../frontends/vduse/abi.ts';
import { type QueueInfo, VduseDevice } from '../../../frontends/vduse/device.ts';
import { Access } from '../../../frontends/virtio/memory/mapping.ts';

/** layout.h */
export const RING_SIZE = 512;
const MEMORY_FD = 3;
const FIRST_QUEUE_FD = 4;
const PAGE = 4096;
const CONTROL = { STOP: 0, MEMORY_SIZE: 8, QUEUES: 16, QUEUE_BYTES: 24 };

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

/**
 * Stands for VDUSE in the process of the device: one queue, whose memory, kicks and interrupts are descriptors that
 * driver.c has left to it. An interrupt costs one system call, as with VDUSE.
 */
export class RingKernel {
  readonly syscalls: Syscalls;
  readonly device: VduseDevice;
  readonly #index: number;
  readonly #control: DataView;

  constructor(index: number) {
    this.#index = index;
    this.#control = new DataView(new MemoryMap(MEMORY_FD, 0, PAGE, PROT_READ).buffer);
    const kick = FIRST_QUEUE_FD + 2 * index;
    const interrupt = kick + 1;
    this.syscalls = {
      ...linux,
      eventfd: () => kick,
      // What is inherited is not the device's to close.
      close: () => 0,
      ioctl: (_fd, request, argument) => {
        if (request === VDUSE_VQ_INJECT_IRQ) return linux.write(interrupt, ONE);
        if (request === VDUSE_VQ_SETUP_KICKFD) return 0;
        if (request === VDUSE_IOTLB_GET_FD) return this.#describeMemory(argument!);
        throw new Error(`unexpected ioctl 0x${request.toString(16)}`);
      },
    };
    this.device = new VduseDevice(this.syscalls, -1, 'bench');
  }

  /** The driver has what it wants. */
  get stopped(): boolean {
    return this.#control.getUint32(CONTROL.STOP, true) !== 0;
  }

  get queue(): QueueInfo {
    const at = CONTROL.QUEUES + this.#index * CONTROL.QUEUE_BYTES;
    return {
      num: RING_SIZE,
      descAddr: this.#u64(at),
      driverAddr: this.#u64(at + 8),
      deviceAddr: this.#u64(at + 16),
      state: { layout: 'split', availIndex: 0 },
      ready: true,
    };
  }

  /** All of it is one region, whose addresses are offsets in the file. */
  #describeMemory(argument: Uint8Array): number {
    const entry = new DataView(argument.buffer, argument.byteOffset);
    entry.setBigUint64(IotlbEntry.START, 0n, true);
    entry.setBigUint64(IotlbEntry.LAST, BigInt(this.#u64(CONTROL.MEMORY_SIZE) - 1), true);
    entry.setUint8(IotlbEntry.PERM, Access.READ_WRITE);
    return MEMORY_FD;
  }

  #u64(at: number): number {
    return Number(this.#control.getBigUint64(at, true));
  }
}
