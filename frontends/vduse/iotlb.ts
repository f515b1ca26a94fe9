import type { Logger } from '../../core/api/logger.ts';
import { Errno, SystemError } from '../../core/system/errno.ts';
import { PROT_READ, PROT_WRITE } from '../../core/system/memory-map.ts';
import type { SharedMapping } from '../../core/system/syscalls.ts';
import { GuestMemory } from '../virtio/memory/guest-memory.ts';
import { Access, Mapping } from '../virtio/memory/mapping.ts';
import type { IotlbRegion, VduseDevice } from './device.ts';
import type { BounceFile } from './own-bounce.ts';

const PAGE = 4096;
/** File offsets of huge pages have to be multiples of their size, which the kernel does not tell: 2 MiB, 1 GiB. */
const ALIGNMENTS: readonly number[] = [PAGE, 2 ** 21, 2 ** 30];

/**
 * One generation of an address space of a device's IOTLB: guest memory that maps each region on the first access to it. A reset or an
 * UPDATE_IOTLB ends it, because the kernel then frees memory without a word about what was mapped.
 */
export class Iotlb {
  readonly memory: GuestMemory;
  readonly #device: VduseDevice;
  readonly #logger: Logger;
  readonly #asid: number;
  readonly #bounce: BounceFile | undefined;
  readonly #maps: SharedMapping[] = [];

  /** `bounce`: what takes the place of the kernel's bounce memory, which is in the first address space. */
  constructor(device: VduseDevice, logger: Logger, asid = 0, bounce?: BounceFile) {
    this.#device = device;
    this.#logger = logger;
    this.#asid = asid;
    this.#bounce = asid === 0 ? bounce : undefined;
    this.memory = new GuestMemory((iova) => this.#resolve(iova));
  }

  /** Grants nothing from now on; settles when everything is unmapped, which waits for requests in flight. */
  retire(): Promise<void> {
    return this.memory.retire();
  }

  /** Takes the memory away from requests in flight: what they still write goes nowhere. For when waiting is over. */
  detach(): void {
    for (const map of this.#maps) map.detach();
  }

  #resolve(iova: number): Mapping | undefined {
    try {
      if (this.#bounce !== undefined && iova < this.#bounce.length) return this.#mapBounce(this.#bounce);
      const region = this.#device.iotlbRegion(iova, this.#asid);
      return region === undefined ? undefined : this.#map(region, iova);
    } catch (error) {
      // The request at hand fails, and the guest hears of it; the others have their memory.
      this.#logger.error('guest memory cannot be mapped', { iova, error });
      return undefined;
    }
  }

  #map(region: IotlbRegion, iova: number): Mapping | undefined {
    try {
      const { start, last, offset, access } = region;
      // Also refuses regions above 2^53, whose bounds read as -1: no address that can be written here is in one.
      if (start < 0 || offset < 0 || iova < start || iova > last) return undefined;
      const length = last - start + 1;
      const { map, skip } = this.#mmap(region, length);
      this.#maps.push(map);
      return new Mapping({
        iova: start,
        length,
        access,
        buffer: map.buffer,
        offset: skip,
        probe: (from, bytes) => map.probe(from, bytes),
        unmap: () => this.#unmap(map),
      });
    } finally {
      // The mapping keeps the file; the fd, which the kernel opens without close-on-exec, is not needed any more.
      this.#device.closeFd(region.fd);
    }
  }

  /**
   * All of it at once. The kernel can be given it only now: before a driver has mapped its first page it refuses. Its
   * pages are all there, so nobody has to ask for them.
   */
  #mapBounce({ fd, length }: BounceFile): Mapping | undefined {
    const map = this.#device.mmap(fd, 0, length, PROT_READ | PROT_WRITE);
    let given = false;
    try {
      given = this.#device.giveBounce(map);
    } finally {
      if (!given) map.unmap();
    }
    if (!given) return undefined;
    this.#maps.push(map);
    return new Mapping({
      iova: 0,
      length,
      access: Access.READ_WRITE,
      buffer: map.buffer,
      unmap: () => this.#unmap(map),
    });
  }

  #unmap(map: SharedMapping): void {
    this.#maps.splice(this.#maps.indexOf(map), 1);
    map.unmap();
  }

  #mmap({ fd, offset, access }: IotlbRegion, length: number): { map: SharedMapping; skip: number } {
    // Bits of `access` are those of mmap's protection.
    const prot = access & (PROT_READ | PROT_WRITE);
    for (const alignment of ALIGNMENTS) {
      const skip = offset % alignment;
      try {
        return { map: this.#device.mmap(fd, offset - skip, length + skip, prot), skip };
      } catch (error) {
        const retry = error instanceof SystemError && error.errno === Errno.EINVAL;
        if (!retry || alignment === ALIGNMENTS.at(-1)) throw error;
      }
    }
    throw new Error('unreachable');
  }
}
