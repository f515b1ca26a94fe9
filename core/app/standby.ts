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
  readonly #onReady: () => void;
  #state: StandbyState | undefined;
  #ending: AbortController | undefined;
  /** Never rejects. */
  #attempt: Promise<StandbyDisk | undefined> | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(prepare: NonNullable<DiskLauncher['prepare']>, onReady: () => void) {
    this.#prepare = prepare;
    this.#onReady = onReady;
  }

  /** Undefined while there is nothing to stand by for. */
  get state(): StandbyState | undefined {
    return this.#state;
  }

  /** Has a process stand by for the disk as it is ordered now. Without effect when one does or is about to. */
  keepReady(order: DiskOrder): void {
    if (this.#attempt !== undefined) return;
    this.#ending = new AbortController();
    this.#attempt = this.#prepareOne(order, this.#ending.signal);
  }

  /**
   * The process, which is the caller's then. One that is being prepared is waited for: another would not be faster.
   * Undefined when there is none.
   */
  async take(): Promise<StandbyDisk | undefined> {
    const standby = await this.#attempt;
    if (standby !== undefined) this.#forget();
    return standby;
  }

  /** Ends the process: the disk has changed, or is over. */
  async [Symbol.asyncDispose](): Promise<void> {
    const attempt = this.#attempt;
    this.#ending?.abort(new Error('no process has to stand by any more'));
    this.#forget();
    await (await attempt)?.[Symbol.asyncDispose]();
  }

  #forget(): void {
    clearTimeout(this.#retry);
    this.#attempt = undefined;
    this.#ending = undefined;
    this.#state = undefined;
  }

  async #prepareOne(order: DiskOrder, signal: AbortSignal): Promise<StandbyDisk | undefined> {
    this.#state = 'preparing';
    try {
      const standby = await this.#prepare(order, signal);
      if (!signal.aborted) this.#state = 'ready';
      if (!signal.aborted) this.#onReady();
      return standby;
    } catch {
      if (!signal.aborted) this.#failed(order);
      return undefined;
    }
  }

  /** The disk runs as well without: it is only back later. */
  #failed(order: DiskOrder): void {
    this.#state = 'failed';
    this.#retry = setTimeout(() => {
      this.#forget();
      this.keepReady(order);
    }, RETRY_MS);
    this.#retry.unref();
  }
}
