import type { Holder } from '../api/frontend.ts';
import type { LogLevel } from '../observe/log-level.ts';
import type { User } from '../system/user.ts';
import type { DiskOrder } from './disk-order.ts';
import type { DiskDetails } from './running-disk.ts';
import type { WireError } from './wire-error.ts';

/** What the gateway and a disk's process say to each other, as JSON over the channel of `child_process.fork`. */

export type ToDisk =
  | {
      readonly type: 'start';
      readonly order: DiskOrder;
      readonly stateDir: string;
      readonly takeOver: boolean;
      /** How long a stop may take before plugins are told to give up. Milliseconds. */
      readonly graceMs: number;
      readonly logLevel: LogLevel;
      /** Whom the process becomes before it runs the disk; as it is, when absent. */
      readonly user?: User | undefined;
    }
  /** Answered by `holders` with the same `id`. */
  | { readonly type: 'holders'; readonly id: number }
  /** Answered by `pong`, at once. */
  | { readonly type: 'ping' }
  /** Also gives up a start under way. Answered by `stopped` or `failed`; the process ends afterwards. */
  | { readonly type: 'stop' };

export type FromDisk =
  | { readonly type: 'ready'; readonly details: DiskDetails }
  /** The disk could not start, broke, or did not stop cleanly; the process ends afterwards. */
  | { readonly type: 'failed'; readonly error: WireError }
  | { readonly type: 'stopped' }
  | { readonly type: 'pong' }
  | {
      readonly type: 'holders';
      readonly id: number;
      readonly holders?: readonly Holder[];
      readonly error?: WireError;
    }
  | {
      readonly type: 'log';
      readonly level: Exclude<LogLevel, 'silent'>;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    };
