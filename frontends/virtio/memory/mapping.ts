// hot path: see ARCHITECTURE.md "Data plane"

import { PresentPages, type Probe } from './present-pages.ts';
import type { Scratch } from './scratch.ts';

/** What the device may do with a range of guest memory; bits, with the values VDUSE uses for permissions. */
export const Access = { READ: 1, WRITE: 2, READ_WRITE: 3 } as const;
/** `Access` bits or'ed together. */
export type AccessBits = number;

export interface MappingOptions {
  /** First I/O virtual address; bytes. */
  readonly iova: number;
  /** Bytes, exact: not rounded up to pages. */
  readonly length: number;
  readonly access: AccessBits;
  /** The only view of this memory in the process. */
  readonly buffer: ArrayBuffer;
  /** Where in `buffer` the byte at `iova` is. Default 0. */
  readonly offset?: number;
  /** Detaches `buffer`, so that no view of it can be used any more, and unmaps. Default: detaches only. */
  readonly unmap?: () => void;
  /** Asks for pages of `buffer`, which starts on one, before they are touched. Default: all of them are there. */
  readonly probe?: Probe;
}

/** Copies of at most this many bytes go word by word, which beats the making of a `subarray`. */
const WORDWISE_LIMIT = 256;
/**
 * Views of payload that a mapping remembers, at most one that starts in each of so many consecutive pages: drivers use
 * the same memory again and again, and making a view costs more than finding it. A power of two.
 */
const SEGMENTS = 1024;
const SEGMENT_UNIT = 4096;

/**
 * A contiguous range of guest memory: one region, one mmap, one ArrayBuffer.
 *
 * Every dereference of guest memory that is neither a ring nor a request's payload happens in `load`, `store` and
 * `storeByte`. Whoever touches bytes, or hands out a view of them, has asked `present` about them before.
 */
export class Mapping {
  readonly iova: number;
  /** First address after the range. */
  readonly end: number;
  readonly access: AccessBits;
  readonly buffer: ArrayBuffer;
  /** Add to an address to get an offset in `buffer`. */
  readonly bias: number;
  readonly #bytes: Uint8Array;
  /** Views that were made last, by where they start. */
  readonly #segments: Uint8Array[];
  readonly #view: DataView;
  readonly #pages: PresentPages | undefined;
  readonly #unmap: () => void;

  /** Throws RangeError when the range does not lie inside the buffer, or ends above 2^53. */
  constructor({ iova, length, access, buffer, offset = 0, unmap, probe }: MappingOptions) {
    if (!Number.isSafeInteger(iova) || iova < 0 || !Number.isSafeInteger(iova + length) || length < 0)
      throw new RangeError(`no range of addresses: ${length} bytes at ${iova}`);
    if (offset < 0 || offset + length > buffer.byteLength)
      throw new RangeError(`${length} bytes at offset ${offset} exceed a buffer of ${buffer.byteLength}`);
    this.iova = iova;
    this.end = iova + length;
    this.access = access;
    this.buffer = buffer;
    this.bias = offset - iova;
    this.#bytes = new Uint8Array(buffer);
    this.#segments = new Array<Uint8Array>(SEGMENTS).fill(this.#bytes);
    this.#view = new DataView(buffer);
    this.#pages = probe && new PresentPages(buffer.byteLength, probe);
    this.#unmap = unmap ?? (() => void buffer.transfer(0));
  }

  /** True when the bytes [start, end) can be touched. Addresses must lie inside the mapping. */
  present(start: number, end: number): boolean {
    const pages = this.#pages;
    return pages === undefined || pages.covers(start + this.bias, end + this.bias);
  }

  /**
   * The bytes [start, end) as a view; the same one again where it can be. Addresses must lie inside the mapping.
   */
  segment(start: number, end: number): Uint8Array {
    const offset = start + this.bias;
    const length = end - start;
    const slot = (offset / SEGMENT_UNIT) & (SEGMENTS - 1);
    const known = this.#segments[slot]!;
    if (known.byteOffset === offset && known.length === length) return known;
    const made = this.#bytes.subarray(offset, offset + length);
    this.#segments[slot] = made;
    return made;
  }

  /** Copies `length` bytes from `iova` to byte `at` of `target`. The range must lie inside the mapping. */
  load(iova: number, length: number, target: Scratch, at: number): void {
    const from = iova + this.bias;
    if (length > WORDWISE_LIMIT) {
      target.bytes.set(this.#bytes.subarray(from, from + length), at);
      return;
    }
    const view = this.#view;
    let done = 0;
    if ((at & 3) === 0) {
      for (const words = target.words; done + 4 <= length; done += 4)
        words[(at + done) >>> 2] = view.getUint32(from + done, true);
    }
    for (; done < length; done++) target.bytes[at + done] = view.getUint8(from + done);
  }

  /** Copies bytes [at, at + length) of `source` to `iova`. The range must lie inside the mapping. */
  store(iova: number, length: number, source: Uint8Array, at: number): void {
    const to = iova + this.bias;
    for (let i = 0; i < length; i++) this.#view.setUint8(to + i, source[at + i]!);
  }

  /** The address must lie inside the mapping. */
  storeByte(iova: number, value: number): void {
    this.#view.setUint8(iova + this.bias, value);
  }

  /** Ends every use: afterwards views have length 0, `load` and `store` throw TypeError. For the owner alone. */
  unmap(): void {
    this.#unmap();
  }
}
