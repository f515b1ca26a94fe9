import type { Holder } from '../api/frontend.ts';
import type { DiskDetails } from './running-disk.ts';

/** What happens to disks, for whoever shows it. */
export type GatewayEvent =
  | { readonly type: 'ready'; readonly disk: string; readonly details: DiskDetails }
  /** It could not start. */
  | { readonly type: 'failed'; readonly disk: string; readonly error: unknown }
  /** It ran, and ended without being asked to. */
  | { readonly type: 'died'; readonly disk: string; readonly error: Error }
  | { readonly type: 'restarting'; readonly disk: string; readonly delayMs: number }
  | { readonly type: 'held'; readonly disk: string; readonly holders: readonly Holder[] }
  | { readonly type: 'stopping'; readonly disk: string }
  | { readonly type: 'stopped'; readonly disk: string }
  /** It is down, but not every step of stopping went well. */
  | { readonly type: 'stop-failed'; readonly disk: string; readonly error: unknown };

export type GatewayObserver = (event: GatewayEvent) => void;
