import { GatewayError } from '../api/errors.ts';
import type { Gateway } from './gateway.ts';

/** A second request this soon after a refusal means it. Milliseconds. */
const FORCE_WINDOW_MS = 10_000;

/** Turns requests to stop, such as signals, into a stop: refused while a disk is used, forced when repeated. */
export class GracefulStop {
  readonly #gateway: Gateway;
  readonly #onRefused: (error: GatewayError) => void;
  readonly #now: () => number;
  #refusedAt = Number.NEGATIVE_INFINITY;
  #current: Promise<boolean> | undefined;

  /** `now` in milliseconds; for tests. */
  constructor(
    gateway: Gateway,
    onRefused: (error: GatewayError) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#gateway = gateway;
    this.#onRefused = onRefused;
    this.#now = now;
  }

  /** True when every disk is down; false when refused. Errors of disks are in the gateway's events. */
  request({ force = false } = {}): Promise<boolean> {
    this.#current ??= this.#stop(force || this.#now() - this.#refusedAt < FORCE_WINDOW_MS).finally(() => {
      this.#current = undefined;
    });
    return this.#current;
  }

  async #stop(force: boolean): Promise<boolean> {
    try {
      await this.#gateway.stop({ force });
    } catch (error) {
      if (!GatewayError.is(error) || error.code !== 'disk.held') return true;
      this.#refusedAt = this.#now();
      this.#onRefused(error);
      return false;
    }
    return true;
  }
}
