import type { Moment, SnapshotInfo } from '../api/device.ts';
import type { Holder } from '../api/frontend.ts';
import type { LogLevel } from '../observe/log-level.ts';
import type { User } from '../system/user.ts';
import type { ForwardedLine } from '../util/forwarding-logger.ts';
import type { WireError } from '../util/wire-error.ts';
import type { DiskOrder } from './disk-order.ts';
import type { DiskDetails, DiskReport } from './running-disk.ts';

/**
 * What the gateway and a disk's process say to each other, as JSON over the channel of `child_process.fork`. Raised
 * when the two would misunderstand each other: `blockgate upgrade` starts new code under a gateway that runs the old.
 */
export const CHANNEL_VERSION = 1;

/** What a disk's process can be asked, and what it answers. */
export interface Answers {
  readonly holders: readonly Holder[];
  readonly report: DiskReport;
  /** Everything written is durable. */
  readonly flush: undefined;
  /** The size afterwards. */
  readonly resize: number;
  readonly snapshot: SnapshotInfo;
}

export type Question =
  | { readonly about: 'holders' | 'report' | 'flush' }
  /** Without a size: what the store has grown to. */
  | { readonly about: 'resize'; readonly size?: number }
  | { readonly about: 'snapshot'; readonly name: string; readonly at?: string };

/** Of a request for a snapshot: `at` is a time in ISO 8601. */
export const momentOf = ({ at }: { readonly at?: string | undefined }): Moment | undefined =>
  at === undefined ? undefined : { at: new Date(at) };

/** Which disk a process is to be, and whose. */
export interface Identity {
  readonly order: DiskOrder;
  readonly stateDir: string;
  /** Whom the process becomes before it loads what it serves the disk with; as it is, when absent. */
  readonly user?: User | undefined;
}

export type ToDisk =
  /** Loads and checks everything that can be without touching the store. Answered by `prepared` or `failed`. */
  | ({ readonly type: 'prepare' } & Identity)
  | ({
      readonly type: 'start';
      readonly takeOver: boolean;
      /** How long a stop may take before plugins are told to give up. Milliseconds. */
      readonly graceMs: number;
      readonly logLevel: LogLevel;
    } & Identity)
  /** Answered by `answer` with the same `id`. */
  | ({ readonly type: 'ask'; readonly id: number } & Question)
  /** Answered by `pong`, at once. */
  | { readonly type: 'ping' }
  /** Also gives up a start under way. Answered by `stopped` or `failed`; the process ends afterwards. */
  | { readonly type: 'stop' }
  /** As `stop`, but the device stays for a successor. */
  | { readonly type: 'hand-over' };

export type FromDisk =
  | { readonly type: 'prepared'; readonly version: number }
  | { readonly type: 'ready'; readonly details: DiskDetails }
  /** The disk could not start, broke, or did not stop cleanly; the process ends afterwards. */
  | { readonly type: 'failed'; readonly error: WireError }
  | { readonly type: 'stopped' }
  | { readonly type: 'answer'; readonly id: number; readonly value?: unknown; readonly error?: WireError }
  | { readonly type: 'pong' }
  | ({ readonly type: 'log' } & ForwardedLine);
