import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { MaybePromise } from '../../../../core/plugin.ts';
import type { ObjectCipher, VolumeKey } from '../encryption/volume-key.ts';
import { Codec, FRAME, type FrameEntry } from '../object-header.ts';
import type { Compression, Compressors } from './compression.ts';
import type { FrameTable } from './frame-table.ts';
import { NapiLz4 } from './lz4.ts';
import { NodeZstd } from './zstd.ts';

/** A frame that shrinks by less than this part is stored as it is. */
const WORTHWHILE = 1 / 16;
/** Of an object's frames one in so many is tried first, and not fewer than `MIN_SAMPLES`. */
const SAMPLE_EVERY = 16;
const MIN_SAMPLES = 4;
/** Frames that are encrypted before others get their turn: about 2 ms. */
const SEALED_AT_ONCE = 32;

const CODECS: Record<keyof Compressors, number> = { zstd: Codec.ZSTD, lz4: Codec.LZ4 };

/** The data of an object as it is stored. */
export interface StoredFrames {
  readonly entries: readonly FrameEntry[];
  /** One after another they are the frames; undefined: the data as it is. */
  readonly parts: readonly Uint8Array[] | undefined;
}

/** Turns data into frames as they are stored, and back. */
export class FrameCodec {
  readonly compression: Compression;
  /** Of a volume that is encrypted. */
  readonly key: VolumeKey | undefined;
  readonly #compressors: Compressors;

  constructor(compression: Compression, key: VolumeKey | undefined, compressors: Partial<Compressors> = {}) {
    this.compression = compression;
    this.key = key;
    this.#compressors = { zstd: new NodeZstd(), lz4: new NapiLz4(), ...compressors };
  }

  /** At once when there is nothing to be done. `data` must stay as it is meanwhile. `cipher`: to encrypt it. */
  encode(data: Buffer, cipher: ObjectCipher | undefined): MaybePromise<StoredFrames> {
    const frames = framesOf(data);
    if (this.compression === 'none' || frames.length === 0)
      return cipher === undefined ? asTheyAre(frames) : seal(cipher, asTheyAre(frames), frames);
    const compressed = this.#compress(frames, this.compression);
    return cipher === undefined ? compressed : compressed.then((stored) => seal(cipher, stored, frames));
  }

  /** The data of frame `frame` of the object. Rejects when it is damaged. */
  async decode(stored: Buffer, table: FrameTable, frame: number): Promise<Buffer> {
    const length = table.length(frame);
    const bytes = table.cipher === undefined ? stored : table.cipher.open(frame, stored);
    const codec = table.codec(frame);
    if (codec === Codec.NONE) return bytes;
    const { lz4, zstd } = this.#compressors;
    const data = await (codec === Codec.LZ4 ? lz4 : zstd).decompress(bytes, length);
    if (data.length !== length) throw new Error(`it holds ${data.length} bytes instead of ${length}`);
    return data;
  }

  /** A sample decides whether the others are worth the time. */
  async #compress(frames: readonly Buffer[], how: keyof Compressors): Promise<StoredFrames> {
    const every = Math.min(SAMPLE_EVERY, Math.max(1, Math.floor(frames.length / MIN_SAMPLES)));
    const shrunk = new Array<Buffer | undefined>(frames.length).fill(undefined);
    const tryAll = (isTried: (i: number) => boolean) =>
      Promise.all(
        frames.map(async (frame, i) => {
          if (isTried(i)) shrunk[i] = await this.#shrink(frame, how);
        }),
      );
    await tryAll((i) => i % every === 0);
    if (shrunk.every((frame) => frame === undefined)) return asTheyAre(frames);
    await tryAll((i) => i % every !== 0);
    const parts = frames.map((frame, i) => shrunk[i] ?? frame);
    const entries = parts.map((part, i) => entry(part, shrunk[i] === undefined ? Codec.NONE : CODECS[how]));
    return { entries, parts };
  }

  /** Undefined when it is not worth it. */
  async #shrink(frame: Buffer, how: keyof Compressors): Promise<Buffer | undefined> {
    const shrunk = await this.#compressors[how].compress(frame);
    return shrunk.length <= frame.length * (1 - WORTHWHILE) ? shrunk : undefined;
  }
}

/** After compression: what is encrypted does not shrink. */
async function seal(
  cipher: ObjectCipher,
  { entries, parts }: StoredFrames,
  frames: readonly Buffer[],
): Promise<StoredFrames> {
  const sealed: Buffer[] = [];
  const entriesSealed: FrameEntry[] = [];
  for (const [i, part] of (parts ?? frames).entries()) {
    // A large object takes some 20 ms: not in one go.
    if (i > 0 && i % SEALED_AT_ONCE === 0) await nextTurn();
    const [data, tag] = cipher.sealed(i, part);
    sealed.push(data, tag);
    const { codec } = entries[i]!;
    entriesSealed.push({ stored: data.length + tag.length, codec, crc: crc32(tag, crc32(data)) });
  }
  return { entries: entriesSealed, parts: sealed };
}

const asTheyAre = (frames: readonly Buffer[]): StoredFrames => ({
  entries: frames.map((frame) => entry(frame, Codec.NONE)),
  parts: undefined,
});

const entry = (stored: Uint8Array, codec: number): FrameEntry => ({
  stored: stored.length,
  codec,
  crc: crc32(stored),
});

const framesOf = (data: Buffer): Buffer[] =>
  Array.from({ length: Math.ceil(data.length / FRAME) }, (_, i) => data.subarray(i * FRAME, (i + 1) * FRAME));
