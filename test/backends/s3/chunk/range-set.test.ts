import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeSet } from '../../../../backends/s3/chunk/range-set.ts';

const SIZE = 40;
const range = fc
  .tuple(fc.nat(SIZE - 1), fc.integer({ min: 1, max: SIZE }))
  .map(([start, length]) => [start, Math.min(SIZE, start + length)] as const);

function runs(visit: (found: (start: number, end: number) => void) => void): [number, number][] {
  const found: [number, number][] = [];
  visit((start, end) => found.push([start, end]));
  return found;
}

describe('RangeSet', () => {
  it('is the set of bytes that were added', () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), range, (added, [start, end]) => {
        const set = new RangeSet();
        const model = new Uint8Array(SIZE);
        for (const [from, to] of added) {
          set.add(from, to);
          model.fill(1, from, to);
        }
        const seen = new Uint8Array(SIZE).fill(2);
        set.forEachIn(start, end, (from, to) => seen.fill(1, from, to));
        set.forEachGap(start, end, (from, to) => seen.fill(0, from, to));
        expect(seen.subarray(start, end)).toEqual(model.subarray(start, end));
        expect(set.covers(start, end)).toBe(model.subarray(start, end).every((bit) => bit === 1));
      }),
    );
  });

  it('melts ranges that touch into one', () => {
    const set = new RangeSet();
    set.add(0, 4);
    set.add(8, 12);
    set.add(4, 8);
    expect(runs((found) => set.forEachIn(0, SIZE, found))).toEqual([[0, 12]]);
  });
});
