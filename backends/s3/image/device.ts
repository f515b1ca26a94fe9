// hot path: see ARCHITECTURE.md "Data plane"

import {
  type BlockDevice,
  type DeviceInfo,
  type DeviceStatus,
  type IoVec,
  iovLength,
  type MaybePromise,
} from '../../../core/plugin.ts';
import { copyFrames } from '../cache/frame-memory.ts';
import { ReadAhead } from '../cache/read-ahead.ts';
import type { Meter } from '../store/meter.ts';
import { FRAME, type ImageFrames } from './frames.ts';
import type { PinnedObject } from './pinned-object.ts';

/** Larger requests are split: none takes more of the caches at once. Bytes. */
const MAX_IO = 8 * 2 ** 20;

/** What a device is made of. */
export interface DeviceParts {
  readonly object: PinnedObject;
  readonly frames: ImageFrames;
  /** Requests to the store so far. */
  readonly meter: Meter;
  /** Releases everything that the parts stand on. */
  readonly close: () => Promise<void>;
}

/** An image as a device, which cannot be written. */
export class ImageDevice implements BlockDevice {
  readonly info: DeviceInfo;
  readonly #parts: DeviceParts;
  readonly #frames: ImageFrames;
  readonly #ahead = new ReadAhead();

  constructor(parts: DeviceParts) {
    this.#parts = parts;
    this.#frames = parts.frames;
    const { size, etag } = parts.object.image;
    this.info = {
      size,
      content: `an image with the ETag ${etag}`,
      caps: { concurrency: 'parallel', readOnly: true },
      limits: { blockSize: 512, physicalBlockSize: 4096, optimalIoSize: FRAME, maxIo: MAX_IO },
    };
  }

  /** Returns nothing when all of it was in memory. */
  read(offset: number, iov: IoVec): MaybePromise<void> {
    const length = iovLength(iov);
    const pending = this.#fromMemory(offset, length, iov) ? undefined : this.#fetch(offset, length, iov);
    this.#readAhead(offset, length);
    return pending;
  }

  /** As far as that does not drive out what is in use. */
  async prefetch(offset: number, length: number): Promise<void> {
    const [first, count] = framesOf(offset, length);
    await this.#frames.fetch(first, Math.min(count, this.#frames.spare));
  }

  status(): DeviceStatus {
    const { object, meter } = this.#parts;
    return {
      state: object.problem === undefined ? 'read-only' : `the image ${object.problem}`,
      image: `${object.image.key}, ETag ${object.image.etag}`,
      ...this.#frames.status(),
      ...meter.status(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.close();
  }

  #fromMemory(offset: number, length: number, iov: IoVec): boolean {
    const [first, count] = framesOf(offset, length);
    const frames: Buffer[] = [];
    for (let i = 0; i < count; i++) {
      const found = this.#frames.peek(first + i);
      if (found === undefined) return false;
      frames.push(found);
    }
    copyFrames(frames, FRAME, offset % FRAME, length, iov);
    return true;
  }

  async #fetch(offset: number, length: number, iov: IoVec): Promise<void> {
    const frames = await this.#frames.fetch(...framesOf(offset, length));
    copyFrames(frames, FRAME, offset % FRAME, length, iov);
  }

  #readAhead(offset: number, length: number): void {
    const { from, to } = this.#ahead.after(offset, length, this.info.size, this.#frames.spare * FRAME);
    if (from === to) return;
    // A failure is for the read that needs it to report.
    this.#frames.fetch(...framesOf(from, to - from)).catch(() => undefined);
  }
}

/** The frames that hold `length` bytes from `offset` on: the first, and how many. */
function framesOf(offset: number, length: number): [first: number, count: number] {
  const first = Math.floor(offset / FRAME);
  return [first, Math.floor((offset + length - 1) / FRAME) - first + 1];
}
