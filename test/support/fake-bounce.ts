import { constants } from 'node:os';
import { MemoryMap, PROT_READ, PROT_WRITE } from '../../core/system/memory-map.ts';
import type { GuestRam } from './guest-ram.ts';

const { EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM } = constants.errno;

const REG_UMEM = 0x40308118;
const DEREG_UMEM = 0x40308119;
const GET_INFO = 0xc030811a;
const PAGE = 4096;

/** What bounce memory needs of the kernel around it. */
export interface BounceSurroundings {
  /** What the device's attribute says. */
  bounceSize(): number;
  /** The file that the process has mapped at an address, from there on. */
  userMemory(address: number): { readonly fd: number; readonly length: number } | undefined;
  /** Bytes that the process may pin. */
  memoryLock(): number;
}

/**
 * The bounce memory of a device: pages of the kernel's, or of the process that serves it. What the driver puts there
 * and finds there; so the copies between the driver's own memory and this are left out.
 */
export class FakeBounce {
  /** The driver has mapped something since the last reset. */
  mapped = false;
  /** The kernel's pages, as many as a driver has used. */
  ram: GuestRam | undefined;
  /** How often memory of a process took their place. */
  registrations = 0;
  readonly #surroundings: BounceSurroundings;
  #user: MemoryMap | undefined;

  constructor(surroundings: BounceSurroundings) {
    this.#surroundings = surroundings;
  }

  get size(): number {
    return this.#surroundings.bounceSize();
  }

  get registered(): boolean {
    return this.#user !== undefined;
  }

  /** What the driver sees. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.#user?.buffer ?? this.ram!.buffer);
  }

  /** Undefined: it is another ioctl. */
  ioctl(request: number, view: DataView): number | undefined {
    const [first, second, third] = [0, 8, 16].map((at) => Number(view.getBigUint64(at, true)));
    switch (request) {
      case REG_UMEM:
        return reserved(view) ? -EINVAL : this.#register(first!, second!, third!);
      case DEREG_UMEM:
        if (reserved(view)) return -EINVAL;
        if (this.#user === undefined) return -ENOENT;
        if (second !== 0 || third !== this.size) return -EINVAL;
        this.deregister();
        return 0;
      case GET_INFO:
        if (!this.mapped || first! > second! || first! >= this.size) return -EINVAL;
        view.setBigUint64(0, 0n, true);
        view.setBigUint64(8, BigInt(this.size - 1), true);
        view.setBigUint64(16, 1n, true);
        return 0;
      default:
        return undefined;
    }
  }

  /** As when the process dies: what the driver uses moves back to the kernel's pages. */
  deregister(): void {
    if (this.#user === undefined) return;
    const kernel = new Uint8Array(this.ram!.buffer);
    kernel.set(this.bytes.subarray(0, kernel.length));
    this.#user.unmap();
    this.#user = undefined;
  }

  #register(address: number, iova: number, length: number): number {
    if (!this.mapped || length !== this.size || iova !== 0 || address % PAGE !== 0) return -EINVAL;
    if (this.#user !== undefined) return -EEXIST;
    if (length > this.#surroundings.memoryLock()) return -ENOMEM;
    const memory = this.#surroundings.userMemory(address);
    if (memory === undefined || memory.length < length) return -EFAULT;
    const kernel = this.bytes;
    // The pages stay pinned, whatever becomes of the process's own mapping.
    this.#user = new MemoryMap(memory.fd, 0, length, PROT_READ | PROT_WRITE);
    this.bytes.set(kernel);
    this.registrations++;
    return 0;
  }
}

function reserved(view: DataView): boolean {
  return new Uint8Array(view.buffer, view.byteOffset + 24, 24).some((byte) => byte !== 0);
}
