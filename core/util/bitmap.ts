/** A fixed number of bits with a count and a fast way to the next one that is set. */
export class Bitmap {
  #size: number;
  #words: Uint32Array;
  #count = 0;

  constructor(size: number) {
    this.#size = size;
    this.#words = new Uint32Array(Math.ceil(size / 32));
  }

  get size(): number {
    return this.#size;
  }

  /** The new bits are clear. Never shrinks. */
  grow(size: number): void {
    if (size <= this.#size) return;
    const words = new Uint32Array(Math.ceil(size / 32));
    words.set(this.#words);
    this.#words = words;
    this.#size = size;
  }

  /** Bits that are set. */
  get count(): number {
    return this.#count;
  }

  has(bit: number): boolean {
    return (this.#words[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  /** Returns whether this changed anything. */
  set(bit: number): boolean {
    if (this.has(bit)) return false;
    this.#words[bit >>> 5]! |= 1 << (bit & 31);
    this.#count++;
    return true;
  }

  /** Returns whether this changed anything. */
  clear(bit: number): boolean {
    if (!this.has(bit)) return false;
    this.#words[bit >>> 5]! &= ~(1 << (bit & 31));
    this.#count--;
    return true;
  }

  /** The first set bit in [from, to), or -1. Skips 32 clear bits at a time. */
  next(from: number, to = this.size): number {
    const end = Math.min(to, this.size);
    for (let bit = from; bit < end; ) {
      const word = this.#words[bit >>> 5]! >>> (bit & 31);
      if (word === 0) {
        bit = (bit | 31) + 1;
        continue;
      }
      bit += 31 - Math.clz32(word & -word);
      return bit < end ? bit : -1;
    }
    return -1;
  }

  /** The bits [first, first + 8 × length) as bytes: bit n is bit n % 8 of byte n / 8. `first` is a multiple of 32. */
  exportBytes(first: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const words = this.#words.subarray(first >>> 5, (first >>> 5) + Math.ceil(length / 4));
    for (const [i, word] of words.entries()) {
      bytes[4 * i] = word;
      bytes[4 * i + 1] = word >>> 8;
      bytes[4 * i + 2] = word >>> 16;
      bytes[4 * i + 3] = word >>> 24;
    }
    return bytes;
  }

  /** The reverse of `exportBytes`. Returns false, and changes nothing, when a bit beyond the end is set. */
  importBytes(first: number, bytes: Uint8Array): boolean {
    const within = Math.min(this.size - first, bytes.length * 8);
    for (let bit = within; bit < bytes.length * 8; bit++) {
      if ((bytes[bit >>> 3]! & (1 << (bit & 7))) !== 0) return false;
    }
    for (let bit = 0; bit < within; bit++) {
      if ((bytes[bit >>> 3]! & (1 << (bit & 7))) !== 0) this.set(first + bit);
    }
    return true;
  }
}
