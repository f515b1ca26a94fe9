// hot path: see ARCHITECTURE.md "Data plane"

import { crc32 } from 'node:zlib';
import { BlockError } from '../../../../core/plugin.ts';
import { FrameMemory, fillGaps } from '../../cache/frame-memory.ts';
import { toBlockError } from '../../errors.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { FrameCodec } from '../frames/frame-codec.ts';
import { FrameTable } from '../frames/frame-table.ts';
import type { BaseImage } from '../image/base-image.ts';
import { isPiece } from '../image/pieces.ts';
import { type LogObject, learnFrames } from '../log-object.ts';
import { decodeHeader, FRAME, headerLength, type ObjectHeader, type Opening } from '../object-header.ts';
import type { ObjectCache } from './object-cache.ts';

/** Of an object's header, what is asked for first: most are shorter. Bytes. */
export const HEADER_GUESS = 32 * 1024;
/** Frames of one GET. */
const MAX_FRAMES = 128;
/** Frames of one object are below this. */
const FRAMES_PER_OBJECT = 2 ** 14;
/** Memory for what is known of where the frames of objects are: of some 28 GiB of data. Bytes. */
const TABLES = 16 * 2 ** 20;
/** A damaged answer is asked for once more: it may be the way and not the store. */
const ATTEMPTS = 2;

/** Frames of objects, from memory, from the cache on disk or from the store. */
export class FrameCache {
  readonly #store: ObjectStore;
  readonly #codec: FrameCodec;
  readonly #memory: FrameMemory;
  readonly #maxKnown: number;
  readonly #disk: ObjectCache | undefined;
  readonly #image: BaseImage | undefined;
  readonly #headers = new Map<number, Promise<FrameTable>>();
  /** Objects whose frames are known; the first is the one unused for longest. */
  readonly #known = new Set<LogObject>();
  #knownBytes = 0;

  /**
   * @param bytes keeps at most this much of frames in memory.
   * @param options `tables`: at most this much of where they are; `disk`: keeps what is read as well; `image`: of a volume
   *   that began as one.
   */
  constructor(
    store: ObjectStore,
    codec: FrameCodec,
    bytes: number,
    {
      tables = TABLES,
      disk,
      image,
    }: {
      readonly tables?: number;
      readonly disk?: ObjectCache | undefined;
      readonly image?: BaseImage | undefined;
    } = {},
  ) {
    this.#store = store;
    this.#codec = codec;
    this.#memory = new FrameMemory(bytes, FRAME);
    this.#maxKnown = tables;
    this.#disk = disk;
    this.#image = image;
  }

  /** For `blockgate status`. */
  status(): Record<string, string> {
    return {
      'memory cache': this.#memory.status(),
      ...(this.#disk && { 'disk cache': this.#disk.status() }),
      ...this.#image?.status(),
    };
  }

  /** How many frames may be fetched ahead without driving out what is in use. */
  get spare(): number {
    return this.#memory.spare;
  }

  /** How many frames more there is room for. */
  get free(): number {
    return this.#memory.free;
  }

  peek(object: LogObject, frame: number): Buffer | undefined {
    return this.#memory.peek(keyOf(object, frame));
  }

  /** Whether it is in memory, or on its way there. */
  has(object: LogObject, frame: number): boolean {
    return this.#memory.has(keyOf(object, frame));
  }

  /** Frames `first` … `first` + `count` - 1, uncompressed. Rejects with a `BlockError`: EIO when they are damaged or gone. */
  fetch(object: LogObject, first: number, count: number): Promise<Buffer[]> {
    const base = keyOf(object, 0);
    return this.#memory.fetch(base + first, count, MAX_FRAMES, (key, run) =>
      this.#read(object, key - base, run),
    );
  }

  /** As `fetch`, for somebody who reads much, and once: nothing of it is kept. */
  readAside(object: LogObject, first: number, count: number): Promise<Buffer[]> {
    return this.#read(object, first, count, false);
  }

  /**
   * What has just been stored is often read soon, but not what would drive out much else. A copy: a part must not keep all
   * of the object in memory.
   */
  keepStored(object: LogObject, data: Buffer): void {
    this.#know(object);
    if (data.length > this.spare * FRAME) return;
    for (let frame = 0; frame * FRAME < data.length; frame++)
      this.#memory.keep(keyOf(object, frame), Buffer.from(data.subarray(frame * FRAME, (frame + 1) * FRAME)));
  }

  async #read(object: LogObject, first: number, count: number, isKept = true): Promise<Buffer[]> {
    const key = object.names.object(object.place!);
    object.readers++;
    try {
      if (isPiece(object)) return await this.#image!.read(object, first, count, isKept);
      const table = object.frames ?? (await this.#learn(object, key));
      this.#know(object);
      const stored = await this.#stored(object, key, table, first, count, isKept);
      return await this.#decode(key, table, first, stored);
    } catch (error) {
      throw toBlockError(error);
    } finally {
      object.readers--;
    }
  }

  /** Frames from `first` on as the store has them: what is on the disk, and the rest with one request. */
  async #stored(
    object: LogObject,
    key: string,
    table: FrameTable,
    first: number,
    count: number,
    isKept: boolean,
  ): Promise<Buffer[]> {
    if (this.#disk === undefined) return await this.#download(object, key, table, first, count);
    const cached = await this.#disk.read(object, first, table.entries(first, count));
    return await fillGaps(cached, async (from, gap) => {
      const missing = await this.#download(object, key, table, first + from, gap);
      if (isKept) this.#disk!.keep(object, first + from, missing);
      return missing;
    });
  }

  async #download(
    object: LogObject,
    key: string,
    table: FrameTable,
    first: number,
    count: number,
  ): Promise<Buffer[]> {
    const offset = table.start(first);
    const length = table.start(first + count) - offset;
    for (let attempt = 1; ; attempt++) {
      const bytes = Buffer.allocUnsafeSlow(length);
      const info = await this.#store.read(key, object.headerBytes + offset, [bytes]);
      if (info === undefined) throw new BlockError('EIO', `${key} is missing from the bucket`);
      const stored = Array.from({ length: count }, (_, i) =>
        bytes.subarray(table.start(first + i) - offset, table.start(first + i + 1) - offset),
      );
      if (stored.every((frame, i) => crc32(frame) === table.crc(first + i))) return stored;
      if (attempt === ATTEMPTS) throw new BlockError('EIO', `${key} is damaged: its checksums do not match`);
    }
  }

  async #decode(key: string, table: FrameTable, first: number, stored: Buffer[]): Promise<Buffer[]> {
    try {
      return await Promise.all(stored.map((frame, i) => this.#codec.decode(frame, table, first + i)));
    } catch (cause) {
      const { message } = cause as Error;
      throw new BlockError('EIO', `${key} is damaged: a frame cannot be decoded: ${message}`, { cause });
    }
  }

  #learn(object: LogObject, key: string): Promise<FrameTable> {
    let learning = this.#headers.get(object.id);
    if (learning === undefined) {
      learning = this.#readHeader(object, key).finally(() => this.#headers.delete(object.id));
      this.#headers.set(object.id, learning);
    }
    return learning;
  }

  async #readHeader(object: LogObject, name: string): Promise<FrameTable> {
    const opening = { name, key: this.#codec.key };
    const cached = await this.#disk?.header(object);
    const known = cached && decodeHeader(cached, opening);
    if (typeof known === 'object' && isOf(object, known)) return learned(object, known, cached!.length);
    const found = await readHeader(this.#store, opening);
    if (found === undefined) throw new BlockError('EIO', `${name} is missing from the bucket`);
    if (typeof found === 'string') throw new BlockError('EIO', `${name} is damaged: ${found}`);
    if (!isOf(object, found.header))
      throw new BlockError('EIO', `${name} is damaged: it is another object, under this name`);
    this.#disk?.keepHeader(object, found.bytes);
    return learned(object, found.header, found.bytes.length);
  }

  /** Where its frames are was just used. */
  #know(object: LogObject): void {
    const { frames } = object;
    if (frames === undefined) return;
    if (this.#known.delete(object)) this.#knownBytes -= frames.weight;
    this.#known.add(object);
    this.#knownBytes += frames.weight;
    for (const oldest of this.#known) {
      if (this.#knownBytes <= this.#maxKnown) break;
      this.#known.delete(oldest);
      this.#knownBytes -= oldest.frames!.weight;
      oldest.frames = undefined;
    }
  }
}

/** The header of the object at `name`, and its bytes; what is wrong with it; or undefined where there is none. */
export async function readHeader(store: ObjectStore, opening: Opening) {
  const { name } = opening;
  let bytes = Buffer.allocUnsafe(HEADER_GUESS);
  const info = await store.read(name, 0, [bytes]);
  if (info === undefined) return undefined;
  const length = headerLength(bytes.subarray(0, info.size));
  if (typeof length === 'string') return length;
  if (length > info.size) return `it ends within its header, after ${info.size} of ${length} bytes`;
  if (length > bytes.length) {
    const rest = Buffer.allocUnsafe(length - bytes.length);
    if ((await store.read(name, bytes.length, [rest])) === undefined) return undefined;
    bytes = Buffer.concat([bytes, rest]);
  }
  const header = decodeHeader(bytes, opening);
  return typeof header === 'string' ? header : { header, bytes: bytes.subarray(0, length), size: info.size };
}

/** What no other frame of any object has. */
export const keyOf = ({ id }: LogObject, frame: number): number => id * FRAMES_PER_OBJECT + frame;

const isOf = ({ place, blocks }: LogObject, header: ObjectHeader): boolean =>
  header.place.epoch === place!.epoch && header.place.seq === place!.seq && header.blocks === blocks;

function learned(object: LogObject, { blocks, frames, cipher }: ObjectHeader, bytes: number): FrameTable {
  const table = new FrameTable(blocks, frames, cipher);
  learnFrames(object, table, bytes);
  return table;
}
