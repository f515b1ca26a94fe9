import { sleep } from '../util/backoff.ts';
import type { DiskOrder } from './disk-order.ts';
import type { DiskLauncher, StandbyDisk } from './running-disk.ts';

/** After a process that could not be prepared, the next is tried so much later. Milliseconds. */
const RETRY_MS = 30_000;

export type StandbyState = 'preparing' | 'ready' | 'failed';

/**
 * A second process of a disk that has loaded everything and waits for the first one's death: loading is what takes long
 * when a disk is started again.
 */
export class Standby implements AsyncDisposable {
  readonly #prepare: NonNullable<DiskLauncher['prepare']>;
  #state: StandbyState | undefined;
  #ending: AbortController | undefined;
  #prepared: Promise<StandbyDisk | undefined> | undefined;

  constructor(prepare: NonNullable<DiskLauncher['prepare']>) {
    this.#prepare = prepare;
  }

  /** Undefined while there is nothing to stand by for. */
  get state(): StandbyState | undefined {
    return this.#state;
  }

  /** Has a process stand by for the disk as it is ordered now. Without effect when one does or is about to. */
  keepReady(order: DiskOrder): void {
    if (this.#prepared !== undefined) return;
    const ending = new AbortController();
    this.#ending = ending;
    this.#prepared = this.#untilPrepared(order, ending.signal);
  }

  /** The process, if one is ready: it is the caller's then. */
  async take(): Promise<StandbyDisk | undefined> {
    if (this.#state !== 'ready') return undefined;
    const standby = await this.#prepared;
    this.#forget();
    return standby;
  }

  /** Ends the process: the disk has changed, or is over. */
  async [Symbol.asyncDispose](): Promise<void> {
    const prepared = this.#prepared;
    this.#ending?.abort(new Error('no process has to stand by any more'));
    this.#forget();
    await (await prepared)?.[Symbol.asyncDispose]();
  }

  #forget(): void {
    this.#prepared = undefined;
    this.#ending = undefined;
    this.#state = undefined;
  }

  /** Never rejects. A disk runs as well without: it is only back later. */
  async #untilPrepared(order: DiskOrder, signal: AbortSignal): Promise<StandbyDisk | undefined> {
    while (!signal.aborted) {
      this.#state = 'preparing';
      try {
        const standby = await this.#prepare(order, signal);
        if (!signal.aborted) this.#state = 'ready';
        return standby;
      } catch {
        if (!signal.aborted) this.#state = 'failed';
      }
      await sleep(RETRY_MS, signal).catch(() => {});
    }
    return undefined;
  }
}
