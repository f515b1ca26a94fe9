import { describe, expect, it } from 'vitest';
import { formatSize, parseSize } from '../../../core/util/size.ts';

describe('parseSize', () => {
  it.each([
    [4096, 4096],
    ['4096', 4096],
    ['10GiB', 10 * 2 ** 30],
    ['512 MiB', 512 * 2 ** 20],
    ['1.5T', 1.5 * 2 ** 40],
    ['10GB', 10e9],
    ['8PiB', 2 ** 53],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes === 2 ** 53 ? undefined : bytes);
  });

  it.each(['', 'GiB', '10 gib', '-1', '1e3', '0x10', '1.3', '10GiBs', ' ', 'constructor', '1constructor'])(
    'refuses %j',
    (text) => {
      expect(parseSize(text)).toBeUndefined();
    },
  );

  it('refuses numbers that are not whole bytes', () => {
    for (const value of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(parseSize(value)).toBeUndefined();
    }
  });
});

describe('formatSize', () => {
  it.each([
    [0, '0 B'],
    [1536, '1.5 KiB'],
    [10 * 2 ** 30, '10 GiB'],
  ])('writes %s as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
});
