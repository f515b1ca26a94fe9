import { existsSync } from 'node:fs';
import { GatewayError } from '../../core/api/errors.ts';
import type { FrontendHandle, Holder } from '../../core/api/frontend.ts';
import type { DeviceAdmin } from './device-admin.ts';
import { busPath, type HostPaths } from './host-paths.ts';
import type { Session } from './session.ts';

const DETACH_POLL_MS = 500;

export interface AttachedDiskParts {
  /** `/dev/blockgate/DISK`. */
  readonly path: string;
  readonly paths: HostPaths;
  /** Name on the vDPA bus. */
  readonly device: string;
  readonly admin: DeviceAdmin;
  readonly session: Session;
  /** Undoes everything, in the order detach, close, destroy. */
  readonly owned: AsyncDisposableStack;
}

/** A volume that is a disk of this machine. */
export class AttachedDisk implements FrontendHandle {
  readonly path: string;
  readonly closed: Promise<Error | undefined>;
  readonly #parts: AttachedDiskParts;
  readonly #detached = Promise.withResolvers<Error>();
  #poll: NodeJS.Timeout | undefined;
  #disposed: Promise<void> | undefined;

  constructor(parts: AttachedDiskParts) {
    this.path = parts.path;
    this.#parts = parts;
    this.closed = Promise.race([parts.session.broken, this.#detached.promise]);
  }

  holders(): Promise<readonly Holder[]> {
    return this.#parts.admin.holders();
  }

  quiesce(): Promise<void> {
    return this.#parts.session.pause();
  }

  /**
   * A driver has let go. Either another one comes, or somebody has taken the device off the bus, of which nobody
   * tells: so this looks until one of the two is certain.
   */
  watchForDetach(): void {
    if (this.#disposed !== undefined || this.#poll !== undefined) return;
    this.#poll = setInterval(() => {
      const { session, paths, device } = this.#parts;
      const gone = !existsSync(busPath(paths, device));
      if (gone) this.#detached.resolve(detachedByOthers(device));
      if (gone || session.driving) this.#stopPolling();
    }, DETACH_POLL_MS);
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

function detachedByOthers(device: string): GatewayError {
  return new GatewayError('vduse.detached', `The VDUSE device "${device}" was taken off the vDPA bus.`, {
    why: 'Somebody else detached it, for instance with "vdpa dev del".',
    fix: 'Start the disk again when it is wanted.',
  });
}
