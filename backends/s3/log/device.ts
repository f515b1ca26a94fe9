// hot path: see ARCHITECTURE.md "Data plane"

import {
  type BlockDevice,
  BlockError,
  type DeviceInfo,
  type DeviceStatus,
  type Extent,
  type IoVec,
  iovLength,
  type MaybePromise,
  type Moment,
  type SnapshotInfo,
} from '../../../core/plugin.ts';
import type { Meter } from '../store/meter.ts';
import type { BootWatch } from './boot/boot-watch.ts';
import type { FrameCache } from './cache/frame-cache.ts';
import { FencedError } from './fenced.ts';
import type { Snapshot } from './head.ts';
import { BLOCK, FRAME } from './object-header.ts';
import type { LogReader } from './reader.ts';
import { Sectors } from './sectors.ts';
import { compressionRatio } from './usage.ts';
import type { BackgroundFlatten } from './volume/background-flatten.ts';
import type { LogWriter } from './writer.ts';

/** Larger requests are split: none has to wait for more room than there is. Bytes. */
const MAX_IO = 8 * 2 ** 20;

/** What a device is made of. `writer` is absent on a read-only disk. */
export interface DeviceParts {
  /** Bytes. */
  readonly size: number;
  readonly reader: LogReader;
  readonly frames: FrameCache;
  readonly writer: LogWriter | undefined;
  /** Of a clone, if the configuration wants it. */
  readonly flatten: BackgroundFlatten | undefined;
  /** Unless the configuration does without it. */
  readonly boot: BootWatch | undefined;
  /** Requests to the store so far. */
  readonly meter: Meter;
  /** Grows the volume, or sees how large it is by now. Returns its size. */
  readonly grow: (size?: number) => Promise<number>;
  /** Keeps what the volume was at some moment. Of a writer. */
  readonly keep?: (name: string, moment: Moment) => Promise<Snapshot>;
  /** Releases everything that the parts stand on. */
  readonly close: () => Promise<void>;
}

/** A volume with the layout `log`, as a device. */
export class LogDevice implements BlockDevice {
  info: DeviceInfo;
  readonly #parts: DeviceParts;
  readonly #sectors: Sectors;

  constructor(parts: DeviceParts) {
    this.#parts = parts;
    this.#sectors = new Sectors(parts.reader, parts.writer?.appender);
    this.info = {
      size: parts.size,
      caps: {
        concurrency: 'parallel',
        readOnly: parts.writer === undefined,
        // What a journal has survives the process; when it fails, writes are answered by the store.
        ...(parts.writer?.appender.journal === undefined && { writeCache: 'process' }),
      },
      limits: {
        blockSize: 512,
        physicalBlockSize: BLOCK,
        optimalIoSize: FRAME,
        maxIo: MAX_IO,
        discardGranularity: BLOCK,
      },
    };
  }

  read(offset: number, iov: IoVec): MaybePromise<void> {
    const { writer, boot } = this.#parts;
    writer?.appender.throwIfFailed();
    // A guest that boots as before goes on as before, and not where the disk goes on.
    const isForeseen = boot?.isWatching === true && boot.read(offset, iovLength(iov));
    return this.#sectors.read(offset, iov, isForeseen ? 0 : this.info.size / BLOCK);
  }

  write(offset: number, iov: IoVec): MaybePromise<void> {
    this.#writer();
    const { boot } = this.#parts;
    if (boot?.isWatching) boot.wrote();
    return this.#sectors.write(offset, iov);
  }

  flush(): MaybePromise<void> {
    return this.#writer().appender.flush();
  }

  discard(offset: number, length: number): MaybePromise<void> {
    this.#writer();
    return this.#sectors.discard(offset, length);
  }

  writeZeroes(offset: number, length: number): MaybePromise<void> {
    this.#writer();
    return this.#sectors.writeZeroes(offset, length);
  }

  extents(offset: number, length: number): MaybePromise<readonly Extent[]> {
    const extents: { offset: number; length: number; kind: Extent['kind'] }[] = [];
    const end = offset + length;
    const first = Math.floor(offset / BLOCK);
    const looking = this.#parts.reader.kinds(first, Math.ceil(end / BLOCK) - first, (isHole, from, count) => {
      const kind = isHole ? 'hole' : 'data';
      const start = Math.max(offset, from * BLOCK);
      const bytes = Math.min(end, (from + count) * BLOCK) - start;
      const last = extents.at(-1);
      if (last?.kind === kind) last.length += bytes;
      else extents.push({ offset: start, length: bytes, kind });
    });
    return looking === undefined ? extents : looking.then(() => extents);
  }

  prefetch(offset: number, length: number): Promise<void> {
    this.#parts.writer?.appender.throwIfFailed();
    const first = Math.floor(offset / BLOCK);
    return this.#parts.reader.prefetch(first, Math.ceil((offset + length) / BLOCK) - first);
  }

  async resize(size?: number): Promise<void> {
    this.info = { ...this.info, size: await this.#parts.grow(size) };
  }

  async snapshot(name: string): Promise<SnapshotInfo> {
    const { createdAt, size } = await this.#writer().snapshot(name, new Date().toISOString());
    return { name, size, createdAt };
  }

  async snapshotAt(name: string, moment: Moment): Promise<SnapshotInfo> {
    this.#writer();
    const { createdAt, size } = await this.#parts.keep!(name, moment);
    return { name, size, createdAt };
  }

  status(): DeviceStatus {
    const { writer, frames, flatten, boot, meter } = this.#parts;
    const counters = { ...frames.status(), ...boot?.status(), ...meter.status() };
    if (writer === undefined) return { state: 'read-only', ...counters };
    const { failure, bytes } = writer.appender;
    const { epoch } = writer.head;
    return {
      state: failure === undefined ? 'ok' : failure instanceof FencedError ? 'FENCED' : 'failed',
      epoch,
      'not durable': `${bytes} bytes`,
      'objects to replay': writer.debt,
      'writes waited for collection': `${(writer.appender.heldMs / 1000).toFixed(1)} s`,
      ...writer.appender.journal?.status(),
      ...flatten?.status(),
      compression: `${writer.compression}, ratio ${compressionRatio(writer.recovered.stored.usage)}`,
      ...counters,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.close();
  }

  #writer(): LogWriter {
    const { writer } = this.#parts;
    if (writer === undefined) throw new BlockError('EROFS', 'the volume is open read-only');
    return writer;
  }
}
