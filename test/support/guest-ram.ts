import { closeSync, ftruncateSync, openSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { MemoryMap, PROT_READ, PROT_WRITE } from '../../core/system/memory-map.ts';

/** A range of I/O virtual addresses, and where it is in a file. */
export interface GuestRegion {
  readonly start: number;
  /** Inclusive. */
  readonly last: number;
  readonly offset: number;
  /** 1 read, 2 write, 3 both. */
  readonly perm: number;
  readonly ram: GuestRam;
}

let made = 0;

/**
 * Memory that a driver and a device both see, each through a mapping of its own, as with a real kernel: so the
 * device's can be taken away without the driver noticing.
 */
export class GuestRam implements Disposable {
  readonly fd: number;
  readonly #driver: MemoryMap;

  constructor(folder: string, length: number) {
    const path = join(folder, `ram${made++}`);
    this.fd = openSync(path, 'w+');
    unlinkSync(path);
    ftruncateSync(this.fd, length);
    this.#driver = new MemoryMap(this.fd, 0, length, PROT_READ | PROT_WRITE);
  }

  /** The driver's view. */
  get buffer(): ArrayBuffer {
    return this.#driver.buffer;
  }

  [Symbol.dispose](): void {
    this.#driver.unmap();
    closeSync(this.fd);
  }
}
