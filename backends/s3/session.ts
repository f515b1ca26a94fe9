import { type PluginContext, Semaphore } from '../../core/plugin.ts';
import type { S3Config } from './config.ts';
import { HedgedStore } from './store/hedged-store.ts';
import { Meter } from './store/meter.ts';
import type { ObjectStore } from './store/object-store.ts';
import { pricesOf } from './store/prices.ts';
import { RetryingStore, type RetryPolicy } from './store/retrying-store.ts';
import { StoreHealth } from './store/store-health.ts';

/** The store as one disk or command uses it: everything bounded by the same slots and ended by the same signal. */
export interface Session {
  /** Through the retry policy given. */
  with(policy: RetryPolicy, signal?: AbortSignal): RetryingStore;
  readonly meter: Meter;
  /** Whether somebody waits to send a request. */
  readonly isBusy: () => boolean;
}

export function startSession(
  store: ObjectStore,
  config: Pick<S3Config, 'maxRequests' | 'hedge' | 'prices' | 'endpoint'>,
  { logger }: Pick<PluginContext, 'logger'>,
  signal: AbortSignal,
): Session {
  const slots = new Semaphore(config.maxRequests);
  const health = new StoreHealth(logger);
  const meter = new Meter(pricesOf(config));
  const below = config.hedge ? new HedgedStore(store, slots, meter) : store;
  return {
    with: (policy, other = signal) =>
      new RetryingStore(below, { policy, slots, health, meter, signal: other }),
    meter,
    isBusy: () => slots.waiting > 0,
  };
}
