const FIRST_RETRY_MS = 1;
const LAST_RETRY_MS = 64;

export interface InterruptLineOptions {
  /** False: the kernel does not take interrupts now. */
  readonly inject: () => boolean;
  /** `inject` threw. */
  readonly onBroken: (error: unknown) => void;
  /** The kernel has taken an interrupt that it had refused at first. */
  readonly onDelivered?: (() => void) | undefined;
}

/**
 * Interrupts the driver, in the end. The kernel refuses until it has taken note of DRIVER_OK, which it does a moment
 * after the answer to that message; an interrupt that gets lost there hangs the driver for good. So a refused one is
 * tried again for as long as the line is open. Interrupts raised meanwhile are the same interrupt.
 */
export class InterruptLine implements Disposable {
  readonly #options: InterruptLineOptions;
  #timer: NodeJS.Timeout | undefined;
  #delayMs = FIRST_RETRY_MS;
  #open = true;
  readonly #retry = (): void => {
    this.#timer = undefined;
    this.raise();
    if (!this.waiting) this.#options.onDelivered?.();
  };

  constructor(options: InterruptLineOptions) {
    this.#options = options;
  }

  /** True while an interrupt waits to be tried again. */
  get waiting(): boolean {
    return this.#timer !== undefined;
  }

  raise(): void {
    if (!this.#open || this.#timer !== undefined) return;
    try {
      if (this.#options.inject()) this.#delayMs = FIRST_RETRY_MS;
      else this.#raiseLater();
    } catch (error) {
      this.#options.onBroken(error);
      // The device can be taken away only when the driver has got every answer: so this goes on trying.
      this.#raiseLater();
    }
  }

  /** Drops an interrupt that waits: the driver has reset the device, or there is none any more. */
  [Symbol.dispose](): void {
    this.#open = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #raiseLater(): void {
    this.#timer = setTimeout(this.#retry, this.#delayMs);
    this.#delayMs = Math.min(LAST_RETRY_MS, this.#delayMs * 2);
  }
}
