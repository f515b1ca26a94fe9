import type { ObjectCipher } from '../encryption/volume-key.ts';
import { BLOCK, FRAME, type FrameEntry } from '../object-header.ts';

/** Where the frames of an object are, and how they are stored: of its header, what reads need, in little memory. */
export class FrameTable {
  /** Of its data. */
  readonly #bytes: number;
  /** Where each ends, counted from the first. Bytes. */
  readonly #ends: Uint32Array;
  readonly #crcs: Uint32Array;
  readonly #codecs: Uint8Array;
  /** Of an object that is encrypted. */
  readonly cipher: ObjectCipher | undefined;

  constructor(blocks: number, frames: readonly FrameEntry[], cipher: ObjectCipher | undefined) {
    this.cipher = cipher;
    this.#bytes = blocks * BLOCK;
    this.#ends = new Uint32Array(frames.length);
    this.#crcs = Uint32Array.from(frames, ({ crc }) => crc);
    this.#codecs = Uint8Array.from(frames, ({ codec }) => codec);
    let end = 0;
    for (const [i, { stored }] of frames.entries()) {
      end += stored;
      this.#ends[i] = end;
    }
  }

  /** Memory that it takes. */
  get weight(): number {
    return (this.cipher === undefined ? 200 : 500) + 9 * this.#ends.length;
  }

  /** Bytes of all frames as they are stored. */
  get stored(): number {
    return this.start(this.#ends.length);
  }

  /** Where the frame begins, counted from the first. Bytes. */
  start(frame: number): number {
    return frame === 0 ? 0 : this.#ends[frame - 1]!;
  }

  crc(frame: number): number {
    return this.#crcs[frame]!;
  }

  codec(frame: number): number {
    return this.#codecs[frame]!;
  }

  entries(first: number, count: number): FrameEntry[] {
    return Array.from({ length: count }, (_, i) => {
      const frame = first + i;
      const stored = this.start(frame + 1) - this.start(frame);
      return { stored, codec: this.codec(frame), crc: this.crc(frame) };
    });
  }

  /** Bytes of data in it. */
  length(frame: number): number {
    return Math.min(FRAME, this.#bytes - frame * FRAME);
  }
}
