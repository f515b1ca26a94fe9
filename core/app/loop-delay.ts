import { monitorEventLoopDelay } from 'node:perf_hooks';

/** How late the event loop was, in milliseconds: for so long a request may have waited for the processor. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** How often it is looked; the histogram counts this time in. Milliseconds. */
const RESOLUTION_MS = 50;

/** Watches the event loop of this process from when it is made. */
export class LoopDelayMonitor {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  /** Since this was asked last. */
  take(): LoopDelay {
    const { max } = this.#histogram;
    const [p50, p99] = [this.#histogram.percentile(50), this.#histogram.percentile(99)];
    this.#histogram.reset();
    return { p50: lateness(p50), p99: lateness(p99), max: lateness(max) };
  }

  [Symbol.dispose](): void {
    this.#histogram.disable();
  }
}

/** A histogram that has seen nothing yet says 0, or worse. Nanoseconds in, a tenth of a millisecond is enough. */
function lateness(nanoseconds: number): number {
  const ms = nanoseconds / 1e6 - RESOLUTION_MS;
  return Number.isFinite(ms) ? Math.max(0, Math.round(ms * 10) / 10) : 0;
}
