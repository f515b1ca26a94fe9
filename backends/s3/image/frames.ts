// hot path: see ARCHITECTURE.md "Data plane"

import { createHash } from 'node:crypto';
import type { DiskCache } from '../cache/disk-cache.ts';
import { FrameMemory, fillGaps } from '../cache/frame-memory.ts';
import type { BucketCache } from '../cache/open-disk-cache.ts';
import type { Image } from './find-image.ts';
import type { PinnedObject } from './pinned-object.ts';

/** Unit of the caches; the one on disk has room for no more. Bytes. */
export const FRAME = 16 * 1024;
/** Frames of one GET. */
const MAX_FRAMES = 128;

/** Frames of an image, from memory, from the cache on disk or from the store. The last one may be shorter. */
export class ImageFrames {
  readonly #object: PinnedObject;
  readonly #memory: FrameMemory;
  readonly #disk: DiskCache | undefined;
  /** Of the image in the cache on disk. */
  readonly #key: Buffer;

  /** @param bytes keeps at most this much in memory. */
  constructor(object: PinnedObject, bytes: number, disk?: BucketCache) {
    this.#object = object;
    this.#memory = new FrameMemory(bytes, FRAME);
    this.#disk = disk?.cache;
    this.#key = keyOf(object.image, disk?.bucket ?? '');
  }

  /** For `blockgate status`. */
  status(): Record<string, string> {
    return {
      'memory cache': this.#memory.status(),
      ...(this.#disk && { 'disk cache': this.#disk.status() }),
    };
  }

  /** How many frames may be fetched ahead without driving out what is in use. */
  get spare(): number {
    return this.#memory.spare;
  }

  peek(frame: number): Buffer | undefined {
    return this.#memory.peek(frame);
  }

  /** Frames `first` … `first` + `count` - 1. Rejects with a `BlockError`. */
  fetch(first: number, count: number): Promise<Buffer[]> {
    return this.#memory.fetch(first, count, MAX_FRAMES, (from, run) => this.#read(from, run));
  }

  /** As `fetch`, and nothing of it is kept in memory; in the cache on disk only if `isKept`. */
  async readAside(first: number, count: number, isKept: boolean): Promise<Buffer[]> {
    const runs: Buffer[] = [];
    for (let done = 0; done < count; done += MAX_FRAMES)
      runs.push(...(await this.#read(first + done, Math.min(MAX_FRAMES, count - done), isKept)));
    return runs;
  }

  async #read(first: number, count: number, isKept = true): Promise<Buffer[]> {
    if (this.#disk === undefined) return await this.#download(first, count);
    const found = await this.#disk.read(this.#key, first, count);
    const cached = Array.from({ length: count }, (_, i) =>
      found[i]?.length === this.#bytesOf(first + i) ? found[i] : undefined,
    );
    return await fillGaps(cached, async (from, gap) => {
      const missing = await this.#download(first + from, gap);
      if (isKept) this.#disk!.keep(this.#key, first + from, missing);
      return missing;
    });
  }

  /** Each in memory of its own: a frame must not keep others in memory. */
  async #download(first: number, count: number): Promise<Buffer[]> {
    const frames = Array.from({ length: count }, (_, i) => Buffer.allocUnsafeSlow(this.#bytesOf(first + i)));
    await this.#object.read(first * FRAME, frames);
    return frames;
  }

  #bytesOf(frame: number): number {
    return Math.min(FRAME, this.#object.image.size - frame * FRAME);
  }
}

/** Another content of the object has another key. */
function keyOf({ key, etag, size }: Image, bucket: string): Buffer {
  return createHash('sha256').update(`${bucket}\nimage\n${etag}\n${size}\n${key}`).digest();
}
