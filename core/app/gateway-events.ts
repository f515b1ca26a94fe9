import type { Holder } from '../api/frontend.ts';
import type { DiskDetails } from './running-disk.ts';

/** What happens to disks, for whoever shows it. */
export type GatewayEvent =
  | {
      readonly type: 'ready';
      readonly disk: string;
      readonly details: DiskDetails;
      /** How often it has been started again in this run. */
      readonly restarts: number;
    }
  /** It could not start, or not start again. */
  | { readonly type: 'failed'; readonly disk: string; readonly error: unknown }
  /** It ran, and ended without being asked to. */
  | { readonly type: 'died'; readonly disk: string; readonly error: Error }
  | { readonly type: 'restarting'; readonly disk: string; readonly delayMs: number }
  /** It died, and starting it again would not be right. */
  | { readonly type: 'given-up'; readonly disk: string }
  /** Another process has loaded everything, and goes on when that of the disk dies. */
  | { readonly type: 'standing-by'; readonly disk: string }
  | { readonly type: 'upgrading'; readonly disk: string }
  /** Another process serves it now; whoever uses it waited for `pausedMs`. */
  | { readonly type: 'upgraded'; readonly disk: string; readonly pausedMs: number }
  | { readonly type: 'resized'; readonly disk: string; readonly size: number }
  | { readonly type: 'held'; readonly disk: string; readonly holders: readonly Holder[] }
  | { readonly type: 'stopping'; readonly disk: string }
  | { readonly type: 'stopped'; readonly disk: string }
  /** It is down, but not every step of stopping went well. */
  | { readonly type: 'stop-failed'; readonly disk: string; readonly error: unknown };

export type GatewayObserver = (event: GatewayEvent) => void;
