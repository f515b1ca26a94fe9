import type { BlockDevice, Moment, SnapshotInfo } from '../api/device.ts';
import { GatewayError } from '../api/errors.ts';
import type { FilterLayer } from '../api/filter.ts';
import type { FrontendHandle, Holder } from '../api/frontend.ts';
import type { DiskVolume } from '../block/volume.ts';
import { errorsOf, sentence } from './failures.ts';
import { LoopDelayMonitor } from './loop-delay.ts';
import type { DiskDetails, DiskReport, RunningDisk } from './running-disk.ts';

/** How a disk ends; read when it does. */
export interface DiskExit {
  /** The device stays, for another process to serve. */
  handOver: boolean;
}

export interface DiskParts {
  readonly handle: FrontendHandle;
  readonly volume: DiskVolume;
  /** What the backend returned, without the layers above it. */
  readonly store: BlockDevice;
  /** By name; the first is nearest the guest. */
  readonly filters: readonly (readonly [name: string, layer: FilterLayer])[];
  readonly exit: DiskExit;
  /** Undoes what `runDisk` did, in the order of a graceful stop. */
  readonly owned: AsyncDisposableStack;
  /** Aborts the signal that plugins were given. */
  readonly grace: AbortController;
  /** Milliseconds. */
  readonly graceMs: number;
}

/** A disk that runs in this process. Made by `runDisk`. */
export class Disk implements RunningDisk {
  readonly details: DiskDetails;
  readonly ended: Promise<Error | undefined>;
  readonly #parts: DiskParts;
  readonly #stopped = Promise.withResolvers<void>();
  readonly #attachedAt = performance.now();
  readonly #loopDelay = new LoopDelayMonitor();
  #stopping: Promise<void> | undefined;

  constructor(details: DiskDetails, parts: DiskParts) {
    this.details = details;
    this.#parts = parts;
    this.ended = this.#watch();
  }

  holders(): Promise<readonly Holder[]> {
    return this.#parts.handle.holders();
  }

  async report(): Promise<DiskReport> {
    const { handle, volume, filters } = this.#parts;
    return {
      pid: process.pid,
      uptimeMs: Math.round(performance.now() - this.#attachedAt),
      size: volume.size,
      inFlight: volume.inFlight,
      loopDelayMs: this.#loopDelay.take(),
      frontend: handle.status?.() ?? {},
      filters: Object.fromEntries(
        filters.flatMap(([name, layer]) => (layer.status ? [[name, layer.status()]] : [])),
      ),
      backend: this.#parts.store.status?.() ?? {},
      canHandOver: handle.release !== undefined && !volume.caps.volatile,
    };
  }

  async flush(): Promise<void> {
    await this.#parts.volume.flush(0);
  }

  async resize(size?: number): Promise<number> {
    const { handle, volume, store } = this.#parts;
    if (store.resize === undefined || handle.resize === undefined) throw cannotResize(this.details);
    await store.resize(size);
    volume.grow();
    // Also when nothing is new to us: an earlier attempt may have got no further than this.
    await handle.resize(volume.size);
    return volume.size;
  }

  /** Of what the disk holds, or of what it was at a moment. */
  async snapshot(name: string, moment?: Moment): Promise<SnapshotInfo> {
    const { volume, store } = this.#parts;
    if (moment !== undefined) {
      if (store.snapshotAt === undefined) throw hasNoPoints(this.details);
      return await store.snapshotAt(name, moment);
    }
    if (store.snapshot === undefined) throw cannotSnapshot(this.details);
    // What filters hold has to be in the store.
    await volume.flush(0);
    return await store.snapshot(name);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  handOver(): Promise<void> {
    // Without a grace period: a request that was given up would be an I/O error where nothing is wrong but the timing.
    this.#parts.exit.handOver = true;
    this.#stopping ??= this.#end();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { grace, graceMs } = this.#parts;
    const timer = setTimeout(() => grace.abort(gracePeriodOver(graceMs)), graceMs);
    try {
      await this.#end();
    } finally {
      clearTimeout(timer);
    }
  }

  async #end(): Promise<void> {
    const { owned } = this.#parts;
    try {
      await owned.disposeAsync();
    } catch (error) {
      throw stopFailed(this.details.name, error);
    } finally {
      this.#loopDelay[Symbol.dispose]();
      this.#stopped.resolve();
    }
  }

  /** A disk whose other side is gone is of no use: it is stopped, and the reason is what `ended` says. */
  async #watch(): Promise<Error | undefined> {
    const closed = this.#parts.handle.closed.then((cause) => ({ cause }));
    // A frontend that forgets to settle `closed` must not keep a stop from ending.
    const end = await Promise.race([closed, this.#stopped.promise]);
    if (end === undefined || (end.cause === undefined && this.#stopping !== undefined)) {
      await this.#stopped.promise;
      return undefined;
    }
    const failures = await this.stop().then(
      () => [],
      (error: unknown) => [error],
    );
    return broken(this.details, end.cause, failures);
  }
}

function gracePeriodOver(graceMs: number): DOMException {
  return new DOMException(`the grace period of ${graceMs / 1000} s for stopping is over`, 'AbortError');
}

function stopFailed(name: string, error: unknown): GatewayError {
  const failures = errorsOf(error);
  return new GatewayError('disk.stop-failed', `Disk "${name}" did not stop cleanly.`, {
    why: failures.map(sentence).join(' '),
    fix: 'Writes that were not flushed may be missing: check the file system (fsck) before you rely on it.',
    cause: failures.length === 1 ? failures[0] : new AggregateError(failures, 'several steps failed'),
  });
}

function broken(details: DiskDetails, cause: Error | undefined, failures: unknown[]): GatewayError {
  const reasons = [cause ?? new Error('its frontend ended without being asked to'), ...failures];
  return new GatewayError('disk.broken', `Disk "${details.name}" broke while it was running.`, {
    why: reasons.map(sentence).join(' '),
    fix: `Unmount ${details.path} if it is mounted, and look at the kernel log (dmesg).`,
    cause,
  });
}

function cannotResize({ name, stack }: DiskDetails): GatewayError {
  return new GatewayError('disk.cannot-resize', `Disk "${name}" cannot grow while it is running.`, {
    why: `Its backend (${stack.at(-1)?.name}) or its frontend (${stack[0]?.name}) has no way to do so.`,
    fix: 'Stop the disk, grow its store, and start it again.',
  });
}

function hasNoPoints({ name, stack }: DiskDetails): GatewayError {
  return new GatewayError('disk.cannot-snapshot', `Disk "${name}" has no points in time.`, {
    why: `Its backend (${stack.at(-1)?.name}) does not remember what a disk was.`,
    fix: 'Use a backend that does: s3, with the layout "log" and a "retention".',
  });
}

function cannotSnapshot({ name, stack }: DiskDetails): GatewayError {
  return new GatewayError('disk.cannot-snapshot', `Disk "${name}" has no snapshots.`, {
    why: `Its backend (${stack.at(-1)?.name}) cannot keep what it holds.`,
    fix: 'Use a backend that can: s3, with the layout "log".',
  });
}
