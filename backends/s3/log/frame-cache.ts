// hot path: see ARCHITECTURE.md "Data plane"

import { crc32 } from 'node:zlib';
import { BlockError } from '../../../core/plugin.ts';
import { toBlockError } from '../errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { type LogObject, learnFrames } from './log-object.ts';
import { decodeHeader, FRAME, headerLength } from './object-header.ts';

/** Of an object's header, what is asked for first: most are shorter. Bytes. */
export const HEADER_GUESS = 32 * 1024;
/** Frames of one GET. */
const MAX_FRAMES = 128;
/** Frames of one object are below this. */
const FRAMES_PER_OBJECT = 2 ** 14;
/** A damaged answer is asked for once more: it may be the way and not the store. */
const ATTEMPTS = 2;

/** Frames that were read, and those on their way: whoever wants one that is asked for already waits for the same answer. */
export class FrameCache {
  readonly #store: ObjectStore;
  readonly #maxFrames: number;
  /** By object and frame; the first is the one unused for longest. */
  readonly #frames = new Map<number, Buffer>();
  readonly #coming = new Map<number, Promise<Buffer>>();
  readonly #headers = new Map<number, Promise<void>>();

  /** @param bytes keeps at most this much. */
  constructor(store: ObjectStore, bytes: number) {
    this.#store = store;
    this.#maxFrames = Math.floor(bytes / FRAME);
  }

  /** How many frames may be fetched ahead without driving out what is in use. */
  get spare(): number {
    return Math.floor(this.#maxFrames / 4);
  }

  peek(object: LogObject, frame: number): Buffer | undefined {
    const key = keyOf(object, frame);
    const found = this.#frames.get(key);
    if (found === undefined) return undefined;
    this.#frames.delete(key);
    this.#frames.set(key, found);
    return found;
  }

  /** Frames `first` … `first` + `count` - 1, uncompressed. Rejects with a `BlockError`: EIO when they are damaged or gone. */
  fetch(object: LogObject, first: number, count: number): Promise<Buffer[]> {
    const wanted: Promise<Buffer>[] = [];
    for (let i = 0; i < count; ) {
      const there = this.#at(object, first + i);
      if (there !== undefined) {
        wanted.push(there);
        i++;
        continue;
      }
      let run = 1;
      while (run < MAX_FRAMES && i + run < count && this.#at(object, first + i + run) === undefined) run++;
      wanted.push(...this.#start(object, first + i, run));
      i += run;
    }
    return Promise.all(wanted);
  }

  /**
   * What has just been stored is often read soon, but not what would drive out much else. A copy: a part must not keep all
   * of the object in memory.
   */
  keepStored(object: LogObject, data: Buffer): void {
    if (data.length > this.spare * FRAME) return;
    for (let frame = 0; frame * FRAME < data.length; frame++)
      this.#keep(object, frame, Buffer.from(data.subarray(frame * FRAME, (frame + 1) * FRAME)));
  }

  #at(object: LogObject, frame: number): Promise<Buffer> | undefined {
    const cached = this.peek(object, frame);
    return cached === undefined ? this.#coming.get(keyOf(object, frame)) : Promise.resolve(cached);
  }

  #start(object: LogObject, first: number, count: number): Promise<Buffer>[] {
    object.readers++;
    const all = this.#read(object, first, count).finally(() => {
      object.readers--;
      for (let i = 0; i < count; i++) this.#coming.delete(keyOf(object, first + i));
    });
    return Array.from({ length: count }, (_, i) => {
      const one = all.then((frames) => {
        this.#keep(object, first + i, frames[i]!);
        return frames[i]!;
      });
      // Somebody may have stopped waiting.
      one.catch(() => undefined);
      this.#coming.set(keyOf(object, first + i), one);
      return one;
    });
  }

  async #read(object: LogObject, first: number, count: number): Promise<Buffer[]> {
    const key = object.names.object(object.place!);
    try {
      if (object.frames === undefined) await this.#learn(object, key);
      const frames = object.frames!;
      let offset = object.headerBytes;
      for (let i = 0; i < first; i++) offset += frames[i]!.stored;
      const wanted = frames.slice(first, first + count);
      const length = wanted.reduce((sum, { stored }) => sum + stored, 0);
      for (let attempt = 1; ; attempt++) {
        const bytes = Buffer.allocUnsafeSlow(length);
        const info = await this.#store.read(key, offset, [bytes]);
        if (info === undefined) throw new BlockError('EIO', `${key} is missing from the bucket`);
        let at = 0;
        const out = wanted.map(({ stored }) => {
          at += stored;
          return bytes.subarray(at - stored, at);
        });
        const isWhole = out.every((frame, i) => crc32(frame) === wanted[i]!.crc);
        if (isWhole) return out;
        if (attempt === ATTEMPTS)
          throw new BlockError('EIO', `${key} is damaged: its checksums do not match`);
      }
    } catch (error) {
      throw toBlockError(error);
    }
  }

  #learn(object: LogObject, key: string): Promise<void> {
    let learning = this.#headers.get(object.id);
    if (learning === undefined) {
      learning = readHeader(this.#store, key)
        .then((found) => {
          if (found === undefined) throw new BlockError('EIO', `${key} is missing from the bucket`);
          if (typeof found === 'string') throw new BlockError('EIO', `${key} is damaged: ${found}`);
          learnFrames(object, found.header, found.bytes.length);
        })
        .finally(() => this.#headers.delete(object.id));
      this.#headers.set(object.id, learning);
    }
    return learning;
  }

  #keep(object: LogObject, frame: number, bytes: Buffer): void {
    this.#frames.set(keyOf(object, frame), bytes);
    for (const key of this.#frames.keys()) {
      if (this.#frames.size <= this.#maxFrames) break;
      this.#frames.delete(key);
    }
  }
}

/** The header of the object at `key`, and its bytes; what is wrong with it; or undefined where there is none. */
export async function readHeader(store: ObjectStore, key: string) {
  let bytes = Buffer.allocUnsafe(HEADER_GUESS);
  const info = await store.read(key, 0, [bytes]);
  if (info === undefined) return undefined;
  const length = headerLength(bytes.subarray(0, info.size));
  if (typeof length === 'string') return length;
  if (length > info.size) return `it ends within its header, after ${info.size} of ${length} bytes`;
  if (length > bytes.length) {
    const rest = Buffer.allocUnsafe(length - bytes.length);
    if ((await store.read(key, bytes.length, [rest])) === undefined) return undefined;
    bytes = Buffer.concat([bytes, rest]);
  }
  const header = decodeHeader(bytes);
  return typeof header === 'string' ? header : { header, bytes: bytes.subarray(0, length), size: info.size };
}

const keyOf = ({ id }: LogObject, frame: number): number => id * FRAMES_PER_OBJECT + frame;
