import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchownSync,
  fstatSync,
  mkdirSync,
  openSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { GatewayError } from '../../core/api/errors.ts';
import type { ProcessUser } from '../../core/api/frontend.ts';
import { orThrow } from '../../core/system/errno.ts';
import { PROT_READ, PROT_WRITE } from '../../core/system/memory-map.ts';
import { O_CLOEXEC, O_RDWR, type SharedMapping, type Syscalls } from '../../core/system/syscalls.ts';
import { inFlightLogBytes } from '../virtio/virtq/inflight.ts';

/** The queues of a device whose logs are in one file. */
export interface InFlightQueues {
  readonly queues: number;
  readonly queueSize: number;
}

interface InFlightFileOptions extends InFlightQueues {
  readonly syscalls: Syscalls;
  readonly path: string;
}

/**
 * After the logs: a byte that is not 0 while they do not count, because those that did were gone; and the word of
 * `UnflushedWrites`.
 */
const MARK_BYTES = 64;
const UNFLUSHED_OFFSET = 8;
const UNFLUSHED_BYTES = 4;

/**
 * The logs of requests in flight of a device's queues, in a file on tmpfs that is mapped shared.
 *
 * A file and not a memfd that the gateway keeps: so it also outlives the gateway, when both processes are killed at
 * once. On tmpfs and not on a disk: it has to outlive processes but not the machine, whose drivers end with it, and
 * must not cost a write to a disk for each request.
 */
export class InFlightFile implements Disposable {
  readonly path: string;
  readonly #map: SharedMapping;
  readonly #bytesEach: number;
  readonly #mark: Uint8Array;

  /** The file is there: `provideInFlightFile` has seen to it. Throws `vduse.inflight-file`. */
  constructor({ syscalls, path, queues, queueSize }: InFlightFileOptions) {
    this.path = path;
    this.#bytesEach = inFlightLogBytes(queueSize);
    try {
      const fd = orThrow(`open ${path}`, syscalls.open(path, O_RDWR | O_CLOEXEC));
      try {
        this.#map = syscalls.mmap(fd, 0, fileBytes({ queues, queueSize }), PROT_READ | PROT_WRITE);
      } finally {
        syscalls.close(fd);
      }
    } catch (cause) {
      throw unusable(path, (cause as Error).message, cause);
    }
    this.#mark = new Uint8Array(this.#map.buffer, queues * this.#bytesEach, 1);
  }

  /**
   * The device is served again, and nobody knows what was in flight: the file was gone. This stays so until somebody has
   * found out, whoever tries meanwhile.
   */
  get isLost(): boolean {
    return this.#mark[0] !== 0;
  }

  /** From now on the logs tell where the queues are. */
  count(): void {
    this.#mark[0] = 0;
  }

  /** The memory of `UnflushedWrites`. */
  get unflushed(): Uint8Array {
    const { buffer, byteOffset } = this.#mark;
    return new Uint8Array(buffer, byteOffset + UNFLUSHED_OFFSET, UNFLUSHED_BYTES);
  }

  /** The log of queue `index`. */
  log(index: number): Uint8Array {
    return new Uint8Array(this.#map.buffer, index * this.#bytesEach, this.#bytesEach);
  }

  /** The driver has let go of the device: whatever was in flight is nobody's any more. */
  clear(): void {
    new Uint8Array(this.#map.buffer).fill(0);
  }

  /** The file stays. */
  [Symbol.dispose](): void {
    this.#map.unmap();
  }
}

/**
 * Sees to it that the file is there, and is `owner`'s, or this process's where there is none. `keep`: the device is
 * served again, so the logs in the file count, and are lost when there is none; otherwise they start empty. Throws
 * `vduse.inflight-file`.
 */
export function provideInFlightFile(
  path: string,
  { queues, queueSize, keep }: InFlightQueues & { readonly keep: boolean },
  owner?: ProcessUser,
): void {
  const length = fileBytes({ queues, queueSize });
  try {
    if (!keep || !existsSync(path)) make(path, length, keep);
    // Whatever the name comes to mean meanwhile, it is this file that is looked at and given away.
    const fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const found = fstatSync(fd);
      if (!found.isFile() || found.nlink !== 1) throw unusable(path, 'It is something else.');
      if (found.size !== length)
        throw unusable(path, `It has ${found.size} bytes, and the device’s queues need ${length}.`);
      if (owner !== undefined && found.uid !== owner.uid) fchownSync(fd, owner.uid, owner.gid);
    } finally {
      closeSync(fd);
    }
  } catch (cause) {
    throw GatewayError.is(cause) ? cause : unusable(path, (cause as Error).message, cause);
  }
}

function fileBytes({ queues, queueSize }: InFlightQueues): number {
  return queues * inFlightLogBytes(queueSize) + MARK_BYTES;
}

/** Written out, because a hole that finds no memory later on would be a SIGBUS. */
function make(path: string, length: number, isLost: boolean): void {
  const folder = dirname(path);
  // Whoever serves a disk looks into it, whatever the umask of whoever starts it.
  if (mkdirSync(folder, { recursive: true }) !== undefined) chmodSync(folder, 0o755);
  rmSync(path, { force: true });
  const bytes = new Uint8Array(length);
  if (isLost) bytes[length - MARK_BYTES] = 1;
  writeFileSync(path, bytes, { mode: 0o600, flag: 'wx' });
}

/** For a device that is destroyed. */
export function removeInFlightFile(path: string): void {
  // Where its folder is none, it cannot be either.
  if (existsSync(path)) rmSync(path);
}

function unusable(path: string, why: string, cause?: unknown): GatewayError {
  return new GatewayError('vduse.inflight-file', `The file ${path} cannot be used.`, {
    why: `It lists the requests in flight, for when a process dies. ${why}`,
    fix: 'Let the gateway’s user write to that folder, which has to be on a tmpfs with space left.',
    cause,
  });
}
