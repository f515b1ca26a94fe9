import type { DeviceStatus, Moment, ResolvedCaps, SnapshotInfo } from '../api/device.ts';
import type { FrontendStatus, Holder } from '../api/frontend.ts';
import type { DiskOrder } from './disk-order.ts';
import type { StackLayer } from './disk-stack.ts';
import type { LoopDelay } from './loop-delay.ts';

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

/** What a disk tells of itself when it is asked. */
export interface DiskReport {
  readonly pid: number;
  /** Milliseconds since it was attached. */
  readonly uptimeMs: number;
  /** Bytes. */
  readonly size: number;
  /** Requests of the volume that have not settled. */
  readonly inFlight: number;
  /** Of the disk's process, since it was asked last. */
  readonly loopDelayMs: LoopDelay;
  readonly frontend: FrontendStatus;
  /** By the name of each filter that has something to tell. */
  readonly filters: Readonly<Record<string, DeviceStatus>>;
  readonly backend: DeviceStatus;
  /** Another process can go on where this one stops. */
  readonly canHandOver: boolean;
}

/** A disk that has been started, in this process or in one of its own. */
export interface RunningDisk {
  readonly details: DiskDetails;
  /** Who uses the disk now. */
  holders(): Promise<readonly Holder[]>;
  report(): Promise<DiskReport>;
  /** Everything written is durable. */
  flush(): Promise<void>;
  /**
   * Grows the store to `size` bytes, or finds out how large it is by now, and tells the disk's users. Returns the size.
   */
  resize(size?: number): Promise<number>;
  /** Keeps what the disk holds, all that was written before included. */
  snapshot(name: string, moment?: Moment): Promise<SnapshotInfo>;
  /**
   * Quiesces, detaches, flushes, closes, in this order; whoever uses the disk loses it. Fails with `disk.stop-failed`
   * after every step has been tried, or `disk.killed`. Repeating it joins the first call.
   */
  stop(): Promise<void>;
  /**
   * As `stop`, but leaves the device for a successor; whoever uses the disk waits until that serves it. No request is
   * given up for it. Only where the report says that it can be done.
   */
  handOver(): Promise<void>;
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
  /** As far as a disk can be started beside one that runs. Absent where disks have no processes of their own. */
  prepare?(order: DiskOrder, signal: AbortSignal): Promise<StandbyDisk>;
}

/** Code that is loaded and waits to serve a disk. Disposal of one that was not started ends it. */
export interface StandbyDisk extends AsyncDisposable {
  start(options: LaunchOptions): Promise<RunningDisk>;
}

/** What every launcher has to know about this run. */
export interface LaunchSettings {
  /** Folder that holds one folder of state per disk. */
  readonly stateDir: string;
  /** How long a stop may take before plugins are told to give up. Milliseconds. */
  readonly graceMs: number;
}
