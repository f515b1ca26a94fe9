import type { ResolvedCaps } from '../api/device.ts';
import type { Holder } from '../api/frontend.ts';
import type { DiskOrder } from './disk-order.ts';
import type { StackLayer } from './disk-stack.ts';

/** What is known about a disk once it is attached. */
export interface DiskDetails {
  readonly name: string;
  /** Where it can be used, e.g. `/dev/blockgate/disk0`. */
  readonly path: string;
  /** How to use it, line by line; empty where the path tells. */
  readonly usage: readonly string[];
  /** Bytes. */
  readonly size: number;
  /** From the guest to the store. */
  readonly stack: readonly StackLayer[];
  readonly caps: ResolvedCaps;
}

/** A disk that has been started, in this process or in one of its own. */
export interface RunningDisk {
  readonly details: DiskDetails;
  /** Who uses the disk now. */
  holders(): Promise<readonly Holder[]>;
  /**
   * Quiesces, detaches, flushes, closes, in this order; whoever uses the disk loses it. Fails with `disk.stop-failed`
   * after every step has been tried, or `disk.killed`. Repeating it joins the first call.
   */
  stop(): Promise<void>;
  /** Settles when the disk runs no longer: with the reason if nobody asked for it. Never rejects. */
  readonly ended: Promise<Error | undefined>;
}

export interface LaunchOptions {
  /** The user asked to take the store over from an owner that is gone. */
  readonly takeOver: boolean;
  /** Gives up starting. */
  readonly signal: AbortSignal;
}

/** Starts disks. */
export interface DiskLauncher {
  launch(order: DiskOrder, options: LaunchOptions): Promise<RunningDisk>;
}

/** What every launcher has to know about this run. */
export interface LaunchSettings {
  /** Folder that holds one folder of state per disk. */
  readonly stateDir: string;
  /** How long a stop may take before plugins are told to give up. Milliseconds. */
  readonly graceMs: number;
}
