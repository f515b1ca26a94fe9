/**
 * Memory of our own that parts of guest memory are copied to before anybody looks at them: the guest can change its
 * copy at any time, so what was checked must be what is used.
 */
export class Scratch {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;

  /** `size` in bytes; rounded up to a multiple of 4. */
  constructor(size: number) {
    const buffer = new ArrayBuffer((size + 3) & ~3);
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
  }

  /** The u64 at word `index`, or -1 when it is 2^53 or more. */
  u64(index: number): number {
    return u64(this.words[index]!, this.words[index + 1]!);
  }
}

/** Joins the halves of a u64 without a BigInt. Returns -1 for 2^53 and above, which no address or sector is. */
export function u64(low: number, high: number): number {
  return high < 0x20_0000 ? high * 0x1_0000_0000 + low : -1;
}
