import type { IoVec } from '../api/device.ts';
import { addressOf } from './memory-map.ts';

/** IOV_MAX of Linux: most entries one readv or writev takes. */
export const IOV_MAX = 1024;

/** sizeof(struct iovec): two 64-bit words. */
const IOVEC_BYTES = 16;
const WORD = 2 ** 32;

/**
 * An array of `struct iovec` in memory that does not move, for readv(2) and its kin. It holds raw addresses: whoever
 * passes it to the kernel keeps the segments alive and attached until the call, or its completion, is back.
 */
export class IovecArray {
  readonly address: number;
  readonly #words: Uint32Array;
  readonly #capacity: number;

  /** `bytes` provides the memory: 16 per entry, aligned to 8. */
  constructor(bytes: Uint8Array) {
    this.address = addressOf(bytes);
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
    this.#capacity = Math.floor(bytes.byteLength / IOVEC_BYTES);
  }

  /** A block of `count` arrays with `capacity` entries each, in one allocation. */
  static block(count: number, capacity: number): IovecArray[] {
    const memory = new ArrayBuffer(count * capacity * IOVEC_BYTES);
    return Array.from(
      { length: count },
      (_, i) => new IovecArray(new Uint8Array(memory, i * capacity * IOVEC_BYTES, capacity * IOVEC_BYTES)),
    );
  }

  /**
   * Describes `iov` from byte `skip` on, as far as the entries reach, and returns how many are in use. Segments that
   * are neighbours in memory become one entry: guests send large transfers as runs of adjacent pages.
   */
  fill(iov: IoVec, skip: number): number {
    const words = this.#words;
    let count = 0;
    let end = -1;
    let length = 0;
    for (const segment of iov) {
      if (skip >= segment.length) {
        skip -= segment.length;
        continue;
      }
      const address = addressOf(segment) + skip;
      const bytes = segment.length - skip;
      skip = 0;
      if (address === end) {
        length += bytes;
        words[count * 4 - 2] = length;
      } else {
        if (count === this.#capacity) break;
        const at = count++ * 4;
        length = bytes;
        // An element takes a number modulo 2^32.
        words[at] = address;
        words[at + 1] = address / WORD;
        words[at + 2] = bytes;
        words[at + 3] = 0;
      }
      end = address + bytes;
    }
    return count;
  }
}
