// hot path: see ARCHITECTURE.md "Data plane"

import {
  type Bitmap,
  type BlockDevice,
  copyIn,
  type DeviceStatus,
  type Extent,
  fillZero,
  type IoVec,
  iovLength,
  type MaybePromise,
  settleAll,
} from '../../core/plugin.ts';
import { Change } from './change.ts';
import { checkedRead } from './checked-read.ts';
import type { RedisClients } from './clients.ts';
import { cannotShrink } from './errors.ts';
import type { RedisLink } from './link.ts';
import type { RangeRead } from './range-read.ts';
import { readVolume, type VolumeRecord } from './volume-record.ts';
import type { WriteMemory } from './write-memory.ts';

/** Chunks that one call drops at a time. */
const DROP_AT_A_TIME = 4096;

export interface DeviceParts {
  readonly clients: RedisClients;
  readonly volume: VolumeRecord;
  /** By chunk: it exists. */
  readonly present: Bitmap;
  readonly link: RedisLink;
  readonly memory: WriteMemory;
  readonly dispose: () => Promise<void>;
}

interface Part {
  readonly chunk: number;
  /** Within the chunk. */
  readonly from: number;
  readonly length: number;
  /** Within the request. */
  readonly at: number;
}

/** A volume that this gateway has for itself. */
export class RedisDevice implements BlockDevice {
  readonly #parts: DeviceParts;
  readonly #chunkSize: number;
  /** Chunks that are being dropped: the server may have done it already. */
  readonly #dropping = new Set<number>();
  readonly info;

  constructor(parts: DeviceParts) {
    this.#parts = parts;
    const { size, chunkSize } = parts.volume;
    this.#chunkSize = chunkSize;
    parts.link.onShort = (read) => this.#readShort(read);
    this.info = {
      size,
      caps: { concurrency: 'parallel' as const },
      limits: {
        physicalBlockSize: 4096,
        optimalIoSize: chunkSize,
        discardGranularity: chunkSize,
        maxIo: 8 * 2 ** 20,
      },
    };
  }

  read(offset: number, iov: IoVec): MaybePromise<void> {
    const length = iovLength(iov);
    const chunk = Math.floor(offset / this.#chunkSize);
    const from = offset - chunk * this.#chunkSize;
    if (from + length <= this.#chunkSize) return this.#read(chunk, from, length, iov, 0);
    return settleAll(
      this.#split(offset, length).map((part) => this.#read(part.chunk, part.from, part.length, iov, part.at)),
    );
  }

  write(offset: number, iov: IoVec): Promise<void> {
    const { link, volume, memory } = this.#parts;
    const { keys } = volume;
    const length = iovLength(iov);
    const chunk = Math.floor(offset / this.#chunkSize);
    const from = offset - chunk * this.#chunkSize;
    if (from + length <= this.#chunkSize)
      return link.change(Change.write(memory, chunk, keys.chunk(chunk), from, length, iov, 0));
    return settleAll(
      this.#split(offset, length).map((part) =>
        link.change(
          Change.write(memory, part.chunk, keys.chunk(part.chunk), part.from, part.length, iov, part.at),
        ),
      ),
    );
  }

  async flush(): Promise<void> {
    await this.#parts.link.flush();
  }

  /** Whole chunks are freed; what is less stays as it is. */
  async discard(offset: number, length: number): Promise<void> {
    const first = Math.ceil(offset / this.#chunkSize);
    const last = Math.floor((offset + length) / this.#chunkSize);
    await this.#drop(first, last);
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    const { present, link } = this.#parts;
    const first = Math.ceil(offset / this.#chunkSize);
    const last = Math.floor((offset + length) / this.#chunkSize);
    const edges: Change[] = [];
    const edge = (from: number, to: number): void => {
      for (const { chunk, from: start, length: size } of this.#split(from, to - from))
        if (present.has(chunk)) edges.push(new Change(chunk, 'z', start, size));
    };
    if (first > last) edge(offset, offset + length);
    else {
      if (offset < first * this.#chunkSize) edge(offset, first * this.#chunkSize);
      if (last * this.#chunkSize < offset + length) edge(last * this.#chunkSize, offset + length);
    }
    await settleAll(edges.map((edge) => link.change(edge)));
    await this.#drop(first, last);
  }

  extents(offset: number, length: number): Extent[] {
    const found: { offset: number; length: number; kind: Extent['kind'] }[] = [];
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const chunk = Math.floor(at / this.#chunkSize);
      const kind = this.#parts.present.has(chunk) ? 'data' : 'hole';
      // Of holes, all of them at once.
      const next = kind === 'data' ? chunk + 1 : this.#parts.present.next(chunk);
      const to = next < 0 ? end : Math.min(end, next * this.#chunkSize);
      const last = found.at(-1);
      if (last?.kind === kind) last.length += to - at;
      else found.push({ offset: at, length: to - at, kind });
      at = to;
    }
    return found;
  }

  /** Another look: `blockgate volume resize` may have grown it. */
  async resize(wanted?: number): Promise<void> {
    const { clients, volume, present } = this.#parts;
    const { volume: name } = volume.keys;
    const now = (await readVolume(clients, name))?.size ?? this.info.size;
    const size = Math.max(now, wanted ?? now);
    if (wanted !== undefined && wanted < this.info.size) throw cannotShrink(name, this.info.size, wanted);
    if (size > now) await clients.writer.hset(volume.keys.description, 'size', size);
    present.grow(Math.ceil(size / this.#chunkSize));
    this.info.size = size;
  }

  status(): DeviceStatus {
    return this.#parts.link.status();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.dispose();
  }

  /** `first` … `last` - 1. */
  async #drop(first: number, last: number): Promise<void> {
    const { present, link } = this.#parts;
    for (let chunk = present.next(first, last); chunk >= 0; ) {
      const changes: Change[] = [];
      for (; chunk >= 0 && changes.length < DROP_AT_A_TIME; chunk = present.next(chunk + 1, last))
        changes.push(new Change(chunk, 'd', 0, 0));
      for (const change of changes) this.#dropping.add(change.chunk);
      try {
        await settleAll(changes.map((change) => link.change(change)));
      } finally {
        for (const change of changes) this.#dropping.delete(change.chunk);
      }
    }
  }

  #read(chunk: number, from: number, length: number, iov: IoVec, at: number): MaybePromise<void> {
    const { present, link } = this.#parts;
    if (present.has(chunk)) return link.read(chunk, from, length, iov, at);
    // Nobody else writes: a chunk that was never there is zeros.
    fillZero(iov, at, length);
    return undefined;
  }

  /** The end of a chunk that was never written to is not there; or all of it is not there, and should be. */
  async #readShort({ chunk, from, length, iov, at }: RangeRead): Promise<void> {
    const { clients, volume, link, present } = this.#parts;
    const [status, bytes] = await checkedRead(clients, volume.keys, chunk, from, length);
    // Dropped meanwhile.
    if (status === 0 && (!present.has(chunk) || this.#dropping.has(chunk))) return fillZero(iov, at, length);
    if (status !== 2) throw link.chunkMissing(chunk);
    copyIn(iov, bytes, at);
    fillZero(iov, at + bytes.length, length - bytes.length);
  }

  #split(offset: number, length: number): Part[] {
    const parts: Part[] = [];
    for (let at = 0; at < length; ) {
      const chunk = Math.floor((offset + at) / this.#chunkSize);
      const from = offset + at - chunk * this.#chunkSize;
      const size = Math.min(this.#chunkSize - from, length - at);
      parts.push({ chunk, from, length: size, at });
      at += size;
    }
    return parts;
  }
}
