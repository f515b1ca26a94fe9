// hot path: see ARCHITECTURE.md "Data plane"

import type { MaybePromise } from '../../../core/plugin.ts';
import type { Pace } from './collection/pace.ts';

interface Waiter {
  readonly bytes: number;
  readonly blocks: number;
  readonly run: () => MaybePromise<void>;
  readonly resolve: (result: MaybePromise<void>) => void;
  readonly reject: (error: unknown) => void;
}

export interface RoomOptions {
  /** Memory for what is not durable. Bytes. */
  readonly maxBytes: number;
  readonly pace: Pace;
  /** What fills the memory has to leave it, whether somebody flushes or not. */
  readonly onFull: () => void;
}

/** Whom the memory has room for, and the log: the others wait, and go on in their order. */
export class Room {
  readonly #options: RoomOptions;
  readonly #waiters: Waiter[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** Memory of what is not durable. */
  bytes = 0;
  /** Since when the first one waits for the collection, and how long others have. Milliseconds. */
  #heldSince: number | undefined;
  #heldMs = 0;

  constructor(options: RoomOptions) {
    this.#options = options;
    options.pace.onChange = () => this.wake();
  }

  /** For how long writers have waited for the collection. Milliseconds. */
  get heldMs(): number {
    return this.#heldMs + (this.#heldSince === undefined ? 0 : performance.now() - this.#heldSince);
  }

  /** Whether so many bytes, and blocks more in the log, may come now. If so, they do. */
  has(bytes: number, blocks: number): boolean {
    return (
      this.#waiters.length === 0 &&
      this.#fits(bytes) &&
      (blocks === 0 || this.#options.pace.hold(blocks) === 0)
    );
  }

  /** `run` once there is room. */
  wait(bytes: number, blocks: number, run: () => MaybePromise<void>): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#waiters.push({ bytes, blocks, run, resolve, reject });
      if (this.#waiters.length === 1) this.wake();
      else if (!this.#fits(this.#waiters[0]!.bytes)) this.#options.onFull();
    });
  }

  /** There may be more room than before. */
  wake(): void {
    clearTimeout(this.#timer);
    for (let first = this.#waiters[0]; first !== undefined; first = this.#waiters[0]) {
      if (!this.#fits(first.bytes)) {
        this.#goOn();
        this.#options.onFull();
        return;
      }
      const ms = first.blocks === 0 ? 0 : this.#options.pace.hold(first.blocks);
      if (ms > 0) {
        this.#heldSince ??= performance.now();
        this.#timer = setTimeout(() => this.wake(), ms);
        this.#timer.unref?.();
        return;
      }
      this.#goOn();
      this.#waiters.shift();
      try {
        first.resolve(first.run());
      } catch (error) {
        first.reject(error);
      }
    }
  }

  /** Nobody waits any longer. */
  rejectAll(error: unknown): void {
    clearTimeout(this.#timer);
    this.#goOn();
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }

  #goOn(): void {
    if (this.#heldSince === undefined) return;
    this.#heldMs += performance.now() - this.#heldSince;
    this.#heldSince = undefined;
  }

  #fits(bytes: number): boolean {
    return this.bytes === 0 || this.bytes + bytes <= this.#options.maxBytes;
  }
}
