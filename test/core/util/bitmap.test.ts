import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bitmap } from '../../../core/util/bitmap.ts';

const SIZE = 200;
const bits = fc.uniqueArray(fc.nat(SIZE - 1));

function bitmapOf(set: readonly number[]): Bitmap {
  const bitmap = new Bitmap(SIZE);
  for (const bit of set) bitmap.set(bit);
  return bitmap;
}

function members(bitmap: Bitmap, from = 0, to = SIZE): number[] {
  const found: number[] = [];
  for (let bit = bitmap.next(from, to); bit >= 0; bit = bitmap.next(bit + 1, to)) found.push(bit);
  return found;
}

describe('Bitmap', () => {
  it('finds the bits that are set, in order', () => {
    fc.assert(
      fc.property(bits, bits, fc.nat(SIZE), fc.nat(SIZE), (set, cleared, from, to) => {
        const bitmap = bitmapOf(set);
        for (const bit of cleared) expect(bitmap.clear(bit)).toBe(set.includes(bit));
        const left = set.filter((bit) => !cleared.includes(bit)).sort((a, b) => a - b);
        expect(members(bitmap)).toEqual(left);
        expect(members(bitmap, from, to)).toEqual(left.filter((bit) => bit >= from && bit < to));
        expect(bitmap.count).toBe(left.length);
      }),
    );
  });

  it('is the same after it was stored and loaded', () => {
    fc.assert(
      fc.property(bits, (set) => {
        const stored = bitmapOf(set);
        const loaded = new Bitmap(SIZE);
        for (const first of [0, 64, 128, 192])
          expect(loaded.importBytes(first, stored.exportBytes(first, 8))).toBe(true);
        expect(members(loaded)).toEqual(members(stored));
      }),
    );
  });

  it('refuses bits beyond its end', () => {
    const bitmap = new Bitmap(4);
    expect(bitmap.importBytes(0, new Uint8Array([0x10]))).toBe(false);
    expect(bitmap.count).toBe(0);
  });
});
