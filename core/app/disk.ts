import { GatewayError } from '../api/errors.ts';
import type { FrontendHandle, Holder } from '../api/frontend.ts';
import { errorsOf, sentence } from './failures.ts';
import type { DiskDetails, RunningDisk } from './running-disk.ts';

export interface DiskParts {
  readonly handle: FrontendHandle;
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
  #stopping: Promise<void> | undefined;

  constructor(details: DiskDetails, parts: DiskParts) {
    this.details = details;
    this.#parts = parts;
    this.ended = this.#watch();
  }

  holders(): Promise<readonly Holder[]> {
    return this.#parts.handle.holders();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { owned, grace, graceMs } = this.#parts;
    const timer = setTimeout(() => grace.abort(gracePeriodOver(graceMs)), graceMs);
    try {
      await owned.disposeAsync();
    } catch (error) {
      throw stopFailed(this.details.name, error);
    } finally {
      clearTimeout(timer);
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
    fix: `Unmount ${details.path} if it is mounted, look at the kernel log (dmesg), and start the disk again.`,
    cause,
  });
}
