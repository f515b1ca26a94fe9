import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { OpenContext } from '../../../../core/plugin.ts';
import type { DiskCache } from '../../cache/disk-cache.ts';
import { type BucketCache, openDiskCache } from '../../cache/open-disk-cache.ts';
import type { S3Config } from '../../config.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { LogObject } from '../log-object.ts';
import type { LogNames } from '../names.ts';
import { FRAME, type FrameEntry, headerLength } from '../object-header.ts';
import { readRecord } from '../volume/volume-record.ts';

/** Of an object's header, the first piece. Frames of data are below. */
const HEADER = 2 ** 31;
/** A longer header is not kept. Bytes. */
const MAX_HEADER = 32 * FRAME;

/**
 * What a cache on disk has of the objects of volumes: frames as they are stored, and headers. Objects never change, but a
 * volume that is made where another one was gives its objects the same names: so they are known by the UUID of the volume
 * as well.
 */
export class ObjectCache {
  readonly #cache: DiskCache;
  readonly #store: ObjectStore;
  readonly #bucket: string;
  /** By prefix; that of a volume which cannot be read is unknown. */
  readonly #uuids = new Map<string, Promise<string | undefined>>();

  /** `bucket`: where the objects are, in words that no other bucket has. */
  constructor(cache: DiskCache, store: ObjectStore, bucket: string) {
    this.#cache = cache;
    this.#store = store;
    this.#bucket = bucket;
  }

  /** Undefined where none is configured, or it does not work. `store` reads what volumes are. */
  static async open(
    config: S3Config,
    store: ObjectStore,
    ctx: OpenContext,
    undo: AsyncDisposableStack,
  ): Promise<ObjectCache | undefined> {
    const opened = await openDiskCache(config, ctx, undo);
    return opened && new ObjectCache(opened.cache, store, opened.bucket);
  }

  /** The same, for what is no object of a log. */
  get shared(): BucketCache {
    return { cache: this.#cache, bucket: this.#bucket };
  }

  /** Frames from `first` on that are what `wanted` says, those that are there. Never rejects. */
  async read(
    object: LogObject,
    first: number,
    wanted: readonly FrameEntry[],
  ): Promise<(Buffer | undefined)[]> {
    const key = await this.#key(object);
    const found = key === undefined ? [] : await this.#cache.read(key, first, wanted.length);
    return wanted.map(({ stored, crc }, i) => {
      const frame = found[i];
      return frame?.length === stored && crc32(frame) === crc ? frame : undefined;
    });
  }

  /** Frames as they are stored, which must not change any more. */
  keep(object: LogObject, first: number, frames: readonly Buffer[]): void {
    void this.#key(object).then((key) => key && this.#cache.keep(key, first, frames));
  }

  /** The bytes of the header, if all of them are there. Never rejects. */
  async header(object: LogObject): Promise<Buffer | undefined> {
    const key = await this.#key(object);
    const start = key && (await this.#cache.read(key, HEADER, 1))[0];
    if (start === undefined) return undefined;
    const length = headerLength(start);
    if (typeof length === 'string' || length > MAX_HEADER) return undefined;
    const rest = Math.ceil(length / FRAME) - 1;
    const pieces = rest === 0 ? [] : await this.#cache.read(key!, HEADER + 1, rest);
    const whole = [start, ...pieces].filter((piece) => piece !== undefined);
    return whole.length === rest + 1 ? Buffer.concat(whole) : undefined;
  }

  keepHeader(object: LogObject, bytes: Buffer): void {
    if (bytes.length > MAX_HEADER) return;
    // A copy: what was read is longer.
    const copy = Buffer.from(bytes);
    const pieces = Array.from({ length: Math.ceil(copy.length / FRAME) }, (_, i) =>
      copy.subarray(i * FRAME, (i + 1) * FRAME),
    );
    this.keep(object, HEADER, pieces);
  }

  status(): string {
    return this.#cache.status();
  }

  async #key({ names, place }: LogObject): Promise<Buffer | undefined> {
    const uuid = await this.#uuidOf(names);
    if (uuid === undefined) return undefined;
    return createHash('sha256')
      .update(`${this.#bucket}\n${uuid}\n${names.object(place!)}`)
      .digest();
  }

  #uuidOf(names: LogNames): Promise<string | undefined> {
    let uuid = this.#uuids.get(names.prefix);
    if (uuid === undefined) {
      uuid = readRecord(this.#store, names).then(
        (record) => record?.uuid,
        () => undefined,
      );
      this.#uuids.set(names.prefix, uuid);
    }
    return uuid;
  }
}
