import { describe, expect, it } from 'vitest';
import { IovecArray } from '../../../core/system/iovec.ts';
import { addressOf } from '../../../core/system/memory-map.ts';

/** What the kernel would see: address and length of each entry. */
function entries(iov: Uint8Array[], skip: number, capacity = 8): [number, number][] {
  const memory = new Uint8Array(capacity * 16);
  const count = new IovecArray(memory).fill(iov, skip);
  const words = new BigUint64Array(memory.buffer);
  return Array.from({ length: count }, (_, i) => [Number(words[i * 2]), Number(words[i * 2 + 1])]);
}

describe('IovecArray', () => {
  const memory = new Uint8Array(16384);
  const base = addressOf(memory);

  it('describes each segment by address and length', () => {
    const iov = [memory.subarray(0, 512), memory.subarray(4096, 5120)];
    expect(entries(iov, 0)).toEqual([
      [base, 512],
      [base + 4096, 1024],
    ]);
  });

  it('joins segments that are neighbours in memory', () => {
    const iov = [memory.subarray(0, 4096), memory.subarray(4096, 8192), memory.subarray(12288)];
    expect(entries(iov, 0)).toEqual([
      [base, 8192],
      [base + 12288, 4096],
    ]);
  });

  it('starts in the middle of a segment', () => {
    const iov = [memory.subarray(0, 512), memory.subarray(4096, 5120)];
    expect(entries(iov, 600)).toEqual([[base + 4096 + 88, 1024 - 88]]);
  });

  it('leaves out empty segments', () => {
    expect(entries([memory.subarray(5, 5), memory.subarray(0, 512), memory.subarray(9, 9)], 0)).toEqual([
      [base, 512],
    ]);
  });

  it('stops when its entries are used up', () => {
    const iov = [memory.subarray(0, 512), memory.subarray(1024, 1536), memory.subarray(2048, 2560)];
    expect(entries(iov, 0, 2)).toEqual([
      [base, 512],
      [base + 1024, 512],
    ]);
  });
});
