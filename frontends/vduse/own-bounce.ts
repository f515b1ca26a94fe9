import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GatewayError } from '../../core/api/errors.ts';
import { orThrow } from '../../core/system/errno.ts';
import type { Syscalls } from '../../core/system/syscalls.ts';
import { formatSize } from '../../core/util/size.ts';
import type { VduseDevice } from './device.ts';
import { classPath, type HostPaths } from './host-paths.ts';

/** A file in memory that takes the place of the kernel's bounce memory while one driver uses the device. */
export interface BounceFile {
  readonly fd: number;
  /** Bytes. */
  readonly length: number;
}

/** Bytes that disks of this process may have pinned: the limit holds for all of them together. */
let promised = 0;

/**
 * Bounce memory of this process's own (`"umem"`), each of whose pages is there: of the kernel's, only those are that a
 * driver has used before.
 *
 * A file, so that each thread that serves a queue has a mapping of its own, which can be taken away without the others
 * noticing. A new one for each driver, so that a request of the last one that is late cannot write into the next one's
 * memory. Threads give it to the kernel when they first need it (see `Iotlb`); it is taken back here.
 */
export class OwnBounce implements Disposable {
  readonly #device: VduseDevice;
  readonly #syscalls: Syscalls;
  readonly #length: number;
  #file: BounceFile | undefined;

  /** Throws `vduse.umem-missing` or `vduse.memory-lock`. */
  constructor(device: VduseDevice, syscalls: Syscalls, paths: HostPaths) {
    if (!device.takesBounce) throw notTaken();
    // What an earlier process has set, where the device is one that it made.
    this.#length = Number(readFileSync(join(classPath(paths, device.name), 'bounce_size'), 'utf8'));
    const wanted = promised + this.#length;
    const limit = syscalls.raiseMemoryLock(wanted);
    if (limit < wanted) throw mayNotPin(wanted, limit);
    promised = wanted;
    this.#device = device;
    this.#syscalls = syscalls;
  }

  /** What the driver that is there gets. */
  file(): BounceFile {
    this.#file ??= {
      fd: orThrow('memfd_create', this.#syscalls.memfd(this.#length)),
      length: this.#length,
    };
    return this.#file;
  }

  /** The driver is gone, and nothing that served it looks at its memory again. Throws `SystemError`. */
  takeBack(): void {
    if (this.#file === undefined) return;
    // Should that fail, the kernel goes on with this file, and so must the next driver's queues.
    this.#device.takeBounceBack(this.#length);
    this.#syscalls.close(this.#file.fd);
    this.#file = undefined;
  }

  [Symbol.dispose](): void {
    promised -= this.#length;
    this.takeBack();
  }
}

function notTaken(): GatewayError {
  return new GatewayError('vduse.umem-missing', 'This kernel takes no memory of the gateway for a disk.', {
    why: 'Its VDUSE has no VDUSE_IOTLB_REG_UMEM, which came with Linux 6.0.',
    fix: 'Leave "umem" out of the disk’s frontend, or boot a newer kernel.',
  });
}

function mayNotPin(wanted: number, limit: number): GatewayError {
  const kib = Math.ceil(wanted / 1024);
  return new GatewayError('vduse.memory-lock', `This process may not pin ${formatSize(wanted)} of memory.`, {
    why: `"umem" takes that much (${wanted} bytes), RLIMIT_MEMLOCK is ${limit} bytes, and the process may not raise it.`,
    fix: `Have blockgate started with a higher limit: LimitMEMLOCK=infinity in the unit of systemd, or "ulimit -l ${kib}" by root in the shell that starts it.`,
  });
}
