import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { GatewayError } from '../../core/api/errors.ts';
import { orThrow } from '../../core/system/errno.ts';
import { PROT_READ, PROT_WRITE } from '../../core/system/memory-map.ts';
import { O_CLOEXEC, O_RDWR, type SharedMapping, type Syscalls } from '../../core/system/syscalls.ts';
import { inFlightLogBytes } from '../virtio/virtq/inflight.ts';

interface InFlightFileOptions {
  readonly syscalls: Syscalls;
  readonly path: string;
  readonly queues: number;
  readonly queueSize: number;
  /** The device is served again, so its logs count. Otherwise they start empty. */
  readonly keep: boolean;
}

/**
 * The logs of requests in flight of a device's queues, in a file on tmpfs that is mapped shared.
 *
 * A file and not a memfd that the gateway keeps: so it also outlives the gateway, when both processes are killed at
 * once. On tmpfs and not on a disk: it has to outlive processes but not the machine, whose drivers end with it, and
 * must not cost a write to a disk for each request.
 */
export class InFlightFile implements Disposable {
  /** The device is served again, and nobody knows what was in flight: the file was gone. */
  readonly isLost: boolean;
  readonly path: string;
  readonly #map: SharedMapping;
  readonly #bytesEach: number;

  /** Throws `vduse.inflight-file`. */
  constructor({ syscalls, path, queues, queueSize, keep }: InFlightFileOptions) {
    this.path = path;
    this.#bytesEach = inFlightLogBytes(queueSize);
    const length = queues * this.#bytesEach;
    try {
      const isKept = keep && isThere(path, length);
      this.isLost = keep && !isKept;
      if (!isKept) create(path, length);
      const fd = orThrow(`open ${path}`, syscalls.open(path, O_RDWR | O_CLOEXEC));
      try {
        this.#map = syscalls.mmap(fd, 0, length, PROT_READ | PROT_WRITE);
      } finally {
        syscalls.close(fd);
      }
    } catch (cause) {
      throw GatewayError.is(cause) ? cause : unusable(path, (cause as Error).message, cause);
    }
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

  /** For a device that is destroyed. */
  remove(): void {
    rmSync(this.path, { force: true });
  }
}

function isThere(path: string, length: number): boolean {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined || size === length) return size !== undefined;
  throw unusable(path, `It has ${size} bytes, and the device’s queues need ${length}.`);
}

/** Written out, because a hole that finds no memory later on would be a SIGBUS. */
function create(path: string, length: number): void {
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  writeFileSync(path, new Uint8Array(length), { mode: 0o600, flag: 'wx' });
}

function unusable(path: string, why: string, cause?: unknown): GatewayError {
  return new GatewayError('vduse.inflight-file', `The file ${path} cannot be used.`, {
    why: `It lists the requests in flight, for when a process dies. ${why}`,
    fix: 'Let the gateway’s user write to that folder, which has to be on a tmpfs with space left.',
    cause,
  });
}
