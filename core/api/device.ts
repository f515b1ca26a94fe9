/** The shapes that carry I/O: what a backend returns, what filters wrap, and what a frontend calls. */

export type MaybePromise<T> = T | Promise<T>;

/**
 * Scatter/gather list. Segments may point into guest memory: they may change while you read them, and they vanish
 * when the call settles. Never keep one, or pass one to something that outlives the call.
 */
export type IoVec = readonly Uint8Array[];

/** Bits of `IoFlags`. */
export const IoFlag = {
  /** Durable before the call settles. Only ever passed to a device whose `caps.fua` is `'native'`. */
  FUA: 1,
  /** writeZeroes: the range may be deallocated, as long as it reads as zeros. */
  MAY_UNMAP: 2,
  /** writeZeroes: fail with ENOTSUP rather than write zeros out slowly. */
  NO_FALLBACK: 4,
} as const;
export type IoFlags = number;

/** What presence of a method cannot say. All optional; the cautious value is the default. */
export interface DeviceCaps {
  /** `'native'`: FUA is honoured by the device itself. Default: emulated by a flush after the write. */
  readonly fua?: 'native';
  /** `'parallel'`: any number of calls at once. Default `'serial'`: one at a time. */
  readonly concurrency?: 'serial' | 'parallel';
  /** True: refuse writes although methods for them exist. */
  readonly readOnly?: boolean;
  /** True: data does not survive the end of the process. Shown to the user at start. */
  readonly volatile?: boolean;
  /**
   * `'process'`: a write that settled is in the memory of this process until a flush, and is lost when that is killed.
   * Default: it is somewhere that a new process finds it.
   */
  readonly writeCache?: 'process';
}

/** All sizes in bytes. */
export interface DeviceLimits {
  /** Smallest unit and alignment of requests the device takes; a power of two, 512 … 65536. Default 512. */
  readonly blockSize?: number;
  /** Unit the store works in without read-modify-write; a hint for the guest. Default `blockSize`. */
  readonly physicalBlockSize?: number;
  /** Request size that suits the store best; a hint for the guest. */
  readonly optimalIoSize?: number;
  /** Largest read, write or prefetch. Larger ones are split before they arrive. Default: no limit. */
  readonly maxIo?: number;
  /** Most segments of one IoVec. Default: no limit. */
  readonly maxSegments?: number;
  /** Largest discard or writeZeroes. Larger ones are split. Default: no limit. */
  readonly maxDiscard?: number;
  /** Unit in which discard frees space; a hint for the guest. Default `blockSize`. */
  readonly discardGranularity?: number;
}

export interface DeviceInfo {
  /** Bytes; a multiple of 512, at most 2^53 - 512. */
  readonly size: number;
  readonly caps?: DeviceCaps;
  readonly limits?: DeviceLimits;
  /**
   * For a store that somebody may replace: what is in it, in words that another content has not. A guest goes on with it and
   * with nothing else. Default: whatever the configuration leads to is the same disk.
   */
  readonly content?: string;
}

/** A run of bytes of one kind. `hole` reads as zeros and takes no space; `zero` reads as zeros. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly kind: 'data' | 'zero' | 'hole';
}

/**
 * What a backend hands to core. Only `info`, `read` and disposal are required; presence of a method is the
 * capability. `flush` absent is a promise: each write is durable when it settles.
 *
 * Only valid calls arrive: in range, aligned to `limits.blockSize`, within `maxIo` and `maxSegments`, no writes to a
 * read-only disk, no flag that was not declared. A call does all of its work or throws a `BlockError`.
 */
export interface BlockDevice extends AsyncDisposable {
  /** Its `size` may have grown after `resize`; nothing else of it changes. */
  readonly info: DeviceInfo;
  /** Fills every segment, or fails. */
  read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void>;
  write?(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void>;
  /** Settles when every write that settled before this call is durable. */
  flush?(flags: IoFlags): MaybePromise<void>;
  /** The content of the range is undefined afterwards; space may be freed. */
  discard?(offset: number, length: number, flags: IoFlags): MaybePromise<void>;
  /** The range reads as zeros afterwards. */
  writeZeroes?(offset: number, length: number, flags: IoFlags): MaybePromise<void>;
  extents?(offset: number, length: number): MaybePromise<readonly Extent[]>;
  /**
   * A hint: the range of `length` bytes from `offset` on will be read soon. A device that can brings it nearer, as far as
   * it has room, and settles when it has done what it will. Reads and writes mean the same with and without it, also after
   * an error. NBD protocol, NBD_CMD_CACHE.
   */
  prefetch?(offset: number, length: number): MaybePromise<void>;
  /**
   * Grows the store to `size` bytes or, without it, finds out how large the store is by now; `info.size` says so when
   * the call settles. Requests go on meanwhile. Throws a `GatewayError` rather than shrink.
   */
  resize?(size?: number): MaybePromise<void>;
  /** Keeps what the device holds at some moment of this call under a name. Requests go on meanwhile. */
  snapshot?(name: string): Promise<SnapshotInfo>;
  /** Keeps under a name what the volume was at `moment`. Fails with `volume.no-point` when that is not known. */
  snapshotAt?(name: string, moment: Moment): Promise<SnapshotInfo>;
  /** Facts for `blockgate status`, by name: the state of a connection, what is not durable yet. */
  status?(): DeviceStatus;
  /** Present where calls are cheap enough to be made by several threads at once, each blocked while one runs. */
  readonly perThread?: ThreadOpener;
}

/** A volume as it was at some moment. */
export interface SnapshotInfo {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** ISO 8601. */
  readonly createdAt: string;
}

/** What a volume was at some time, as long as its store remembers it. */
export interface PointInfo {
  /** ISO 8601. */
  readonly at: string;
  /** Bytes. */
  readonly size: number;
}

/** Chooses the newest point that is not after it. */
export interface Moment {
  readonly at: Date;
}

/** What a device tells of itself: few facts, by name. */
export type DeviceStatus = Readonly<Record<string, string | number | boolean>>;

/**
 * How another thread of this process gets a device of its own on the store that is open already. All of them are one
 * disk: each sees what the others wrote, and a flush of any makes durable what completed on every one of them.
 */
export interface ThreadOpener {
  /** URL of a module that exports `openInThread(data, logger)`, which returns a `BlockDevice` or a promise of one. */
  readonly module: string;
  /** What it is called with. Structured-cloneable; secrets are not. */
  readonly data: unknown;
}

/** Capabilities after `resolve`: every question answered. */
export interface ResolvedCaps {
  readonly write: boolean;
  /** False: every write is durable when it settles. */
  readonly flush: boolean;
  readonly discard: boolean;
  /** `'emulate'`: zeros are written out. */
  readonly writeZeroes: 'native' | 'emulate' | 'none';
  readonly fua: 'native' | 'emulate' | 'none';
  readonly extents: boolean;
  /** False: a prefetch does nothing. */
  readonly prefetch: boolean;
  readonly concurrency: 'serial' | 'parallel';
  readonly volatile: boolean;
  readonly writeCache: 'process' | 'none';
}

export type ResolvedLimits = Readonly<Required<DeviceLimits>>;

/** A device with every method present and emulations filled in. What filters wrap and the volume calls. */
export interface ResolvedDevice {
  /** Bytes; may grow while the device is open. */
  readonly size: number;
  readonly caps: ResolvedCaps;
  readonly limits: ResolvedLimits;
  read(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void>;
  write(offset: number, iov: IoVec, flags: IoFlags): MaybePromise<void>;
  flush(flags: IoFlags): MaybePromise<void>;
  discard(offset: number, length: number, flags: IoFlags): MaybePromise<void>;
  writeZeroes(offset: number, length: number, flags: IoFlags): MaybePromise<void>;
  extents(offset: number, length: number): MaybePromise<readonly Extent[]>;
  prefetch(offset: number, length: number): MaybePromise<void>;
}

/** The methods of `ResolvedDevice`: what a filter takes a stance on. */
export type Op = 'read' | 'write' | 'flush' | 'discard' | 'writeZeroes' | 'extents' | 'prefetch';

/** What another thread needs to open a volume for itself. Structured-cloneable. */
export interface ThreadVolume {
  readonly name: string;
  /** Name of the backend. */
  readonly backend: string;
  readonly readOnly: boolean;
  readonly opener: ThreadOpener;
}

/**
 * The one object a frontend calls. It validates (range, alignment, read-only) in one place, counts what is in
 * flight, and drains. Failed validation throws synchronously or rejects with a `BlockError`.
 */
export interface Volume extends ResolvedDevice {
  readonly name: string;
  readonly inFlight: number;
  /** Present when threads may have volumes of their own on the same disk. */
  readonly perThread?: ThreadVolume | undefined;
  /** As `DeviceInfo.content`. */
  readonly content?: string | undefined;
  /** Settles when nothing is in flight. Calls made meanwhile are counted too. */
  drain(): Promise<void>;
}
