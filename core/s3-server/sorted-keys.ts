/** Block size at which an insertion splits: keeps insertion and deletion cheap for millions of keys. */
const MAX_BLOCK = 1024;

/**
 * A set of strings in the order of their UTF-8 bytes, which is how S3 lists. Kept as a list of sorted blocks: an
 * insertion moves at most one block.
 */
export class SortedKeys {
  readonly #blocks: string[][] = [];
  #size = 0;

  /** Builds from keys in any order. */
  static from(keys: Iterable<string>): SortedKeys {
    const sorted = [...keys].sort(compareUtf8);
    const set = new SortedKeys();
    for (let i = 0; i < sorted.length; i += MAX_BLOCK / 2)
      set.#blocks.push(sorted.slice(i, i + MAX_BLOCK / 2));
    set.#size = sorted.length;
    return set;
  }

  get size(): number {
    return this.#size;
  }

  add(key: string): void {
    const b = Math.max(0, this.#blockFor(key));
    const block = this.#blocks[b];
    if (!block) {
      this.#blocks.push([key]);
      this.#size = 1;
      return;
    }
    const at = lowerBound(block, (k) => compareUtf8(k, key) < 0);
    if (block[at] === key) return;
    block.splice(at, 0, key);
    this.#size++;
    if (block.length > MAX_BLOCK) this.#blocks.splice(b + 1, 0, block.splice(MAX_BLOCK / 2));
  }

  delete(key: string): void {
    const b = this.#blockFor(key);
    const block = this.#blocks[b];
    if (!block) return;
    const at = lowerBound(block, (k) => compareUtf8(k, key) < 0);
    if (block[at] !== key) return;
    block.splice(at, 1);
    this.#size--;
    if (block.length === 0) this.#blocks.splice(b, 1);
  }

  /**
   * The first key for which `isBefore` is false, where `isBefore` must be true for a leading run of the order and
   * false from there on.
   */
  first(isBefore: (key: string) => boolean): string | undefined {
    const b = lowerBound(this.#blocks, (block) => isBefore(block.at(-1)!));
    const block = this.#blocks[b];
    return block?.[lowerBound(block, isBefore)];
  }

  /** Index of the last block that starts at or before `key`; -1 when there is none. */
  #blockFor(key: string): number {
    return lowerBound(this.#blocks, (block) => compareUtf8(block[0]!, key) <= 0) - 1;
  }
}

/** How many leading items satisfy `isBefore`. */
function lowerBound<T>(items: readonly T[], isBefore: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(items[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Compares as the UTF-8 encodings would. UTF-16 code units give the same order except that surrogates (code points
 * above U+FFFF) sort before U+E000 to U+FFFF, where UTF-8 has them last.
 */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return isSurrogate(x) === isSurrogate(y) ? x - y : isSurrogate(x) ? 1 : -1;
  }
  return a.length - b.length;
}

const isSurrogate = (unit: number): boolean => (unit & 0xf800) === 0xd800;
