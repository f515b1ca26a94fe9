import { readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { GatewayError } from '../../core/api/errors.ts';
import type { FrontendHandle, FrontendStatus, Holder } from '../../core/api/frontend.ts';
import type { Logger } from '../../core/api/logger.ts';
import type { Capacity } from './capacity.ts';
import type { DeviceAttachment } from './device-attachment.ts';
import { busPath, type HostPaths, isAttached } from './host-paths.ts';
import type { Session } from './session.ts';

const DETACH_POLL_MS = 500;

/** How a disk ends; read when it does. */
export interface DiskExit {
  /** The device stays attached, for a successor to serve. */
  leaveAttached: boolean;
}

export interface AttachedDiskParts {
  /** `/dev/blockgate/DISK`. */
  readonly path: string;
  readonly usage: readonly string[];
  readonly attachment: DeviceAttachment;
  readonly paths: HostPaths;
  /** Name on the vDPA bus. */
  readonly device: string;
  /** `/dev/vdX` or `/dev/vhost-vdpa-N`. */
  readonly node: string;
  readonly queues: number;
  /** Lets every thread that serves the disk see how large its volume has become. */
  readonly grow: () => Promise<void>;
  readonly session: Session;
  /** As in `ServedDevice`. */
  readonly settle: () => Promise<void>;
  readonly hasLostWrites: () => boolean;
  readonly logger: Logger;
  readonly capacity: Capacity;
  /** Undoes everything, in the order detach, close, destroy; or what `exit` leaves of that. */
  readonly owned: AsyncDisposableStack;
  readonly exit: DiskExit;
}

/** A volume that is a disk of this machine, or of a virtual machine on it. */
export class AttachedDisk implements FrontendHandle {
  readonly path: string;
  readonly usage: readonly string[];
  readonly closed: Promise<Error | undefined>;
  readonly #parts: AttachedDiskParts;
  readonly #detached = Promise.withResolvers<Error>();
  #poll: NodeJS.Timeout | undefined;
  #disposed: Promise<void> | undefined;

  constructor(parts: AttachedDiskParts) {
    this.path = parts.path;
    this.usage = parts.usage;
    this.#parts = parts;
    this.closed = Promise.race([parts.session.broken, this.#detached.promise]);
  }

  holders(): Promise<readonly Holder[]> {
    return this.#parts.attachment.holders();
  }

  quiesce(): Promise<void> {
    return this.#parts.session.pause();
  }

  async resize(bytes: number): Promise<void> {
    await this.#parts.grow();
    this.#parts.capacity.announce(bytes);
  }

  status(): FrontendStatus {
    const { device, node, paths, queues, session, hasLostWrites } = this.#parts;
    return {
      device,
      node,
      bus: 'vdpa',
      driver: driverOf(paths, device),
      driving: session.driving,
      queues,
      inFlight: session.inFlight,
      features: session.features,
      ...(hasLostWrites() && {
        failing: 'writes were lost with an earlier process; stop and start the disk',
      }),
    };
  }

  /**
   * No driver has the device. Either another one comes, or somebody has taken the device off the bus, of which nobody
   * tells: so this looks until one of the two is certain.
   */
  watchForDetach(): void {
    if (this.#disposed !== undefined || this.#poll !== undefined) return;
    this.#poll = setInterval(() => {
      const { session, paths, device } = this.#parts;
      const gone = !isAttached(paths, device);
      if (gone) this.#detached.resolve(detachedByOthers(device));
      if (gone || session.driving) this.#stopPolling();
    }, DETACH_POLL_MS);
  }

  async release(): Promise<void> {
    const { exit, session, settle, logger } = this.#parts;
    if (this.#disposed === undefined) {
      exit.leaveAttached = true;
      // What does not reach the store here is missed by the successor, which then says so.
      if (session.inFlight === 0)
        await settle().catch((error: unknown) =>
          logger.error('the store took no flush at the end', { error }),
        );
    }
    await this[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#stopPolling();
    this.#disposed ??= this.#parts.owned.disposeAsync();
    return this.#disposed;
  }

  #stopPolling(): void {
    clearInterval(this.#poll);
    this.#poll = undefined;
  }
}

/** `virtio_vdpa`; `none` while the device waits for one. */
function driverOf(paths: HostPaths, device: string): string {
  try {
    return basename(readlinkSync(join(busPath(paths, device), 'driver')));
  } catch {
    return 'none';
  }
}

function detachedByOthers(device: string): GatewayError {
  return new GatewayError('vduse.detached', `The VDUSE device "${device}" was taken off the vDPA bus.`, {
    why: 'Somebody else detached it, for instance with "vdpa dev del".',
    fix: 'Start the disk again when it is wanted.',
  });
}
