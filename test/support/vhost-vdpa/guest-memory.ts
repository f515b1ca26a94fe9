import { orThrow } from '../../../core/system/errno.ts';
import { linux } from '../../../core/system/libc.ts';
import { MemoryMap, PROT_READ, PROT_WRITE } from '../../../core/system/memory-map.ts';
import { errno, libc } from '../../../core/system/native.ts';

const memfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)');
const ftruncate = libc.func('int ftruncate(int fd, int64_t length)');
const MFD_CLOEXEC = 1;

/** Memory of a guest, as hypervisors make it for devices in other processes: a memfd, mapped shared. */
export class GuestMemory implements Disposable {
  readonly map: MemoryMap;
  readonly #fd: number;

  /** `name` shows in /proc/PID/maps of whoever maps it. */
  constructor(name: string, length: number) {
    // SAFETY: koffi passes a copy of the name that lives for the call; the second call has no pointer.
    this.#fd = orThrow('memfd_create', checked(memfdCreate(name, MFD_CLOEXEC) as number));
    orThrow('ftruncate', checked(ftruncate(this.#fd, length) as number));
    this.map = new MemoryMap(this.#fd, 0, length, PROT_READ | PROT_WRITE);
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.map.buffer);
  }

  [Symbol.dispose](): void {
    this.map.unmap();
    linux.close(this.#fd);
  }
}

const checked = (result: number): number => (result < 0 ? -errno() : result);
