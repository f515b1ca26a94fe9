import type { Extent, IoFlags } from '../api/device.ts';
import { IoFlag } from '../api/device.ts';
import { BlockError } from '../api/errors.ts';
import { alignedBuffer, type DirectAlignment } from './direct-io.ts';
import { Errno } from './errno.ts';
import { blockError } from './file-errors.ts';
import type { FileIo } from './file-io.ts';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  type FileSyscalls,
  fileSyscalls,
  SEEK_DATA,
  SEEK_HOLE,
} from './file-syscalls.ts';

const PUNCH_HOLE = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
const ZERO_RANGE = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
/** Unit in which zeros are written where the kernel cannot make them. */
const ZEROS = 2 ** 20;
/** Most extents of one answer; what follows is reported as data, which is always safe. */
const MAX_EXTENTS = 1024;

export interface FileSpaceOptions {
  readonly path: string;
  readonly io: FileIo;
  readonly size: number;
  readonly kind: 'file' | 'block device';
  readonly direct?: DirectAlignment;
  readonly syscalls?: FileSyscalls;
}

/** The space under a file or block device: freeing it, zeroing it, telling what is allocated. */
export class FileSpace {
  readonly #fd: number;
  readonly #options: FileSpaceOptions;
  readonly #syscalls: FileSyscalls;
  /** Modes of fallocate the file system has refused. */
  readonly #refused = new Set<number>();
  #zeros: Uint8Array | undefined;

  constructor(fd: number, options: FileSpaceOptions) {
    this.#fd = fd;
    this.#options = options;
    this.#syscalls = options.syscalls ?? fileSyscalls;
  }

  /** Asks a regular file's file system whether it punches holes, by punching one behind its end at `size`. */
  static async canPunchHoles(
    fd: number,
    size: number,
    syscalls: FileSyscalls = fileSyscalls,
  ): Promise<boolean> {
    return (await syscalls.fallocate(fd, PUNCH_HOLE, size, 2 ** 20)) >= 0;
  }

  /** Frees the range; its content is undefined afterwards. */
  async discard(offset: number, length: number): Promise<void> {
    const { kind, path } = this.#options;
    const result = await uninterrupted(() =>
      kind === 'file'
        ? this.#syscalls.fallocate(this.#fd, PUNCH_HOLE, offset, length)
        : this.#syscalls.discardBlocks(this.#fd, offset, length),
    );
    if (result >= 0) return;
    const syscall = kind === 'file' ? 'fallocate' : 'ioctl(BLKDISCARD)';
    throw blockError(path, `discard of ${length} bytes at ${offset}`, syscall, -result);
  }

  /** Makes the range read as zeros, by the cheapest way `flags` and the file system allow. */
  async writeZeroes(offset: number, length: number, flags: IoFlags): Promise<void> {
    if (flags & IoFlag.MAY_UNMAP && (await this.#fallocate(PUNCH_HOLE, offset, length))) return;
    if (await this.#fallocate(ZERO_RANGE, offset, length)) return;
    if (flags & IoFlag.NO_FALLBACK) {
      throw new BlockError(
        'ENOTSUP',
        `${this.#options.path}: its file system has no fast way to write zeros`,
      );
    }
    const { direct, io } = this.#options;
    this.#zeros ??= direct ? alignedBuffer(ZEROS, direct) : new Uint8Array(ZEROS);
    for (let done = 0; done < length; done += ZEROS) {
      await io.write(offset + done, [this.#zeros.subarray(0, Math.min(ZEROS, length - done))]);
      // A buffered write settles at once: let others have the thread in between.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** Allocated and unallocated runs. Space that is reserved but was never written counts as a hole. */
  extents(offset: number, length: number): Extent[] {
    const end = offset + length;
    const extents: Extent[] = [];
    for (let at = offset; at < end; ) {
      if (extents.length >= MAX_EXTENTS - 1) {
        extents.push({ offset: at, length: end - at, kind: 'data' });
        break;
      }
      const data = Math.min(this.#seek(at, SEEK_DATA) ?? end, end);
      if (data > at) extents.push({ offset: at, length: data - at, kind: 'hole' });
      if (data === end) break;
      at = Math.min(this.#seek(data, SEEK_HOLE) ?? end, end);
      if (at > data) extents.push({ offset: data, length: at - data, kind: 'data' });
    }
    return extents;
  }

  /** False when the file system does not have this mode; it is not asked again. */
  async #fallocate(mode: number, offset: number, length: number): Promise<boolean> {
    if (this.#refused.has(mode)) return false;
    const result = await uninterrupted(() => this.#syscalls.fallocate(this.#fd, mode, offset, length));
    if (result >= 0) return true;
    if (result === -Errno.EOPNOTSUPP) {
      this.#refused.add(mode);
      return false;
    }
    throw blockError(this.#options.path, `zeroing of ${length} bytes at ${offset}`, 'fallocate', -result);
  }

  /** Undefined: there is none up to the end of the file. */
  #seek(from: number, whence: number): number | undefined {
    const result = this.#syscalls.lseek(this.#fd, from, whence);
    if (result >= 0) return result;
    if (result === -Errno.ENXIO) return undefined;
    throw blockError(this.#options.path, `look-up of extents at ${from}`, 'lseek', -result);
  }
}

async function uninterrupted(call: () => Promise<number>): Promise<number> {
  let result = await call();
  while (result === -Errno.EINTR) result = await call();
  return result;
}
