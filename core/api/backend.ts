import type { BlockDevice, Moment, PointInfo, SnapshotInfo } from './device.ts';
import type { Logger } from './logger.ts';
import type { ConfigSchema } from './schema.ts';
import { API_VERSION } from './version.ts';

/** What every plugin gets when it is put to work for one disk. */
export interface PluginContext {
  /** Name of the disk in plugins.json; `^[a-z0-9][a-z0-9-]{0,30}$`. */
  readonly disk: string;
  readonly logger: Logger;
  /** Aborts when the grace period of shutdown is over: give up waiting. */
  readonly signal: AbortSignal;
  /** Folder for this disk's own files; exists, survives restarts. */
  readonly stateDir: string;
  /** Folder of plugins.json: relative paths in the configuration start here. */
  readonly baseDir: string;
}

export interface OpenContext extends PluginContext {
  /** The disk is configured read-only: take no write lock, expect no writes. */
  readonly readOnly: boolean;
  /** The user asked to take the store over from an owner that is gone. */
  readonly takeOver: boolean;
}

/** Something `doctor` or `check` found. */
export interface Finding {
  readonly severity: 'ok' | 'warning' | 'error';
  readonly summary: string;
  /** What to do; a command where there is one. */
  readonly fix?: string;
}

/** A volume in a store that can hold several. Sizes in bytes. */
export interface VolumeInfo {
  readonly name: string;
  readonly size: number;
  /** What the volume occupies in the store, when it is cheap to know. */
  readonly used?: number;
  /** Who has it open for writing. */
  readonly owner?: string;
  /** Anything else worth showing, in order. */
  readonly details?: Readonly<Record<string, string | number | boolean>>;
}

/** Reports progress of a long operation: `done` of `total` units. */
export type Progress = (done: number, total: number) => void;

/** A part of the disk, or of a snapshot of it. Bytes. */
export interface AffectedRange {
  /** The snapshot's name. */
  readonly snapshot?: string;
  readonly offset: number;
  readonly length: number;
}

/** What a check of a volume found. */
export interface VolumeFinding {
  /** `warning`: the disk holds what it should all the same. */
  readonly severity: 'warning' | 'error';
  readonly what: string;
  /** What of the store it is said of, such as the key of an object; of several, the first. */
  readonly where: string;
  /** How many of them it is said of. */
  readonly count: number;
  /** What cannot be read as it was written. */
  readonly affected: readonly AffectedRange[];
  readonly repair: 'none' | 'possible' | 'done';
}

export interface VolumeCheck {
  readonly findings: readonly VolumeFinding[];
  /** What was looked at, and how much of it. */
  readonly counts: Readonly<Record<string, number>>;
}

export interface CheckOptions {
  /** Read all data as well. */
  readonly data: boolean;
  /** Repair what can be repaired without guessing; nobody may have the volume open. */
  readonly repair: boolean;
  readonly progress: Progress;
}

/** Bytes that are different from what they were. */
export interface ChangedRange {
  readonly offset: number;
  readonly length: number;
  /** `hole`: they are zeros now, and take no space. */
  readonly kind: 'data' | 'hole';
}

/** For stores that can keep a volume as it is. Nobody may have the volume open meanwhile; `BlockDevice.snapshot` is for a disk in use. */
export interface SnapshotOperations<C> {
  /** Of what the volume was at `moment`, or is now. Fails with `volume.snapshot-exists`. */
  create(config: C, name: string, ctx: PluginContext, moment?: Moment): Promise<SnapshotInfo>;
  /** Oldest first. */
  list(config: C, ctx: PluginContext): Promise<readonly SnapshotInfo[]>;
  /** Fails while a clone needs it. */
  delete(config: C, name: string, ctx: PluginContext): Promise<void>;
  /** Makes the volume what the snapshot is. What it was until then is kept as a snapshot, which this returns. */
  rollback(config: C, to: string | Moment, ctx: PluginContext): Promise<SnapshotInfo>;
  /** Makes a new volume, which `target` describes, that begins as the snapshot is and shares its data. */
  clone(config: C, from: string | Moment, target: C, ctx: PluginContext): Promise<VolumeInfo>;
  /**
   * What the volume was at some times, oldest first; somebody may have it open. Only who has this is given a `Moment`, and fails
   * with `volume.no-point` when there is none for it.
   */
  points?(config: C, ctx: PluginContext): Promise<readonly PointInfo[]>;
  /** Makes a clone need its parent no more, by copying what it shares with it. Fails while snapshots of the clone share it. */
  flatten?(config: C, progress: Progress, ctx: PluginContext): Promise<VolumeInfo>;
  /**
   * Calls `take` with everything that is different in the snapshot `to` (without it: in the volume as it is now) from what it
   * was in the snapshot `from`, in the order of the disk; it may name what is the same as well. Somebody may have the volume open.
   */
  changes?(
    config: C,
    snapshots: { readonly from: string; readonly to?: string | undefined },
    take: (range: ChangedRange) => void,
    ctx: PluginContext,
  ): Promise<void>;
}

/** For stores that have volumes. Every operation may be repeated safely after an interruption. */
export interface VolumeOperations<C> {
  /** Fails with `volume.exists` when there already is one. */
  create(config: C, ctx: PluginContext): Promise<VolumeInfo>;
  info(config: C, ctx: PluginContext): Promise<VolumeInfo>;
  /** Volumes beside the configured one. */
  list(config: C, ctx: PluginContext): Promise<readonly VolumeInfo[]>;
  /** Grows; refuses to shrink. */
  resize(config: C, size: number, ctx: PluginContext): Promise<VolumeInfo>;
  /** Removes the volume and its data; refuses while somebody owns it, unless forced. */
  delete(
    config: C,
    options: { readonly force: boolean; readonly progress: Progress },
    ctx: PluginContext,
  ): Promise<void>;
  /**
   * From now on the key that `encryption` describes opens the volume, and not that of `config` any more. `encryption` is as
   * the backend has it in its configuration, and not validated.
   */
  rekey?(config: C, encryption: unknown, ctx: PluginContext): Promise<VolumeInfo>;
  /** Verifies everything that is stored of it. Without `repair` it changes nothing, and somebody may have it open. */
  check?(config: C, options: CheckOptions, ctx: PluginContext): Promise<VolumeCheck>;
  readonly snapshots?: SnapshotOperations<C>;
  /** Tries whether the store keeps to what volumes need of it, with data of its own that it removes. */
  qualify?(config: C, ctx: PluginContext): Promise<readonly Finding[]>;
}

export interface BackendPlugin<C = unknown> {
  readonly kind: 'backend';
  readonly apiVersion: number;
  readonly name: string;
  /** One sentence, shown by `blockgate plugin list`. */
  readonly description: string;
  readonly config: ConfigSchema<C>;
  /** Returns a working device or throws and leaves nothing behind. */
  open(config: C, ctx: OpenContext): Promise<BlockDevice>;
  /** Dry run for `blockgate doctor`: whether the disk would open. Changes nothing. */
  check?(config: C, ctx: OpenContext): Promise<readonly Finding[]>;
  /** Imports what `open` needs, which then need not wait for it. */
  warmUp?(): Promise<unknown>;
  /** The `module` of its devices' `perThread`, where they have one: for threads that are prepared before a disk is open. */
  readonly threadModule?: string;
  readonly volumes?: VolumeOperations<C>;
}

/** Declares a backend. The default export of a backend's entry module. */
export function defineBackend<C>(plugin: Omit<BackendPlugin<C>, 'kind' | 'apiVersion'>): BackendPlugin<C> {
  return { kind: 'backend', apiVersion: API_VERSION, ...plugin };
}
