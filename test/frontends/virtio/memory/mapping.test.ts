import { describe, expect, it } from 'vitest';
import { Access, Mapping } from '../../../../frontends/virtio/memory/mapping.ts';
import { Scratch, u64 } from '../../../../frontends/virtio/memory/scratch.ts';

const counting = (length: number): ArrayBuffer => Uint8Array.from({ length }, (_, i) => i & 0xff).buffer;

describe('a mapping', () => {
  it('translates addresses to offsets in its buffer', () => {
    const mapping = new Mapping({
      iova: 0x1000,
      length: 64,
      access: Access.READ,
      buffer: counting(128),
      offset: 32,
    });
    expect([...mapping.segment(0x1004, 0x1008)]).toEqual([36, 37, 38, 39]);
    expect(mapping.end).toBe(0x1040);
  });

  it.each([
    ['a few bytes at an odd place', 3, 1, 5],
    ['whole words', 4, 0, 16],
    ['words and a rest', 5, 4, 7],
    ['more than it copies word by word', 1, 2, 700],
  ])('loads %s', (_, from, at, length) => {
    const mapping = new Mapping({ iova: 0, length: 1024, access: Access.READ, buffer: counting(1024) });
    const target = new Scratch(1024);
    mapping.load(from, length, target, at);
    expect(target.bytes.subarray(at, at + length)).toEqual(
      new Uint8Array(counting(1024)).subarray(from, from + length),
    );
    expect(target.bytes[at + length]).toBe(0);
  });

  it('stores bytes where the address says', () => {
    const buffer = new ArrayBuffer(16);
    const mapping = new Mapping({ iova: 0x100, length: 12, access: Access.WRITE, buffer, offset: 4 });
    mapping.store(0x102, 2, Uint8Array.of(1, 2, 3, 4), 1);
    mapping.storeByte(0x10b, 9);
    expect([...new Uint8Array(buffer)]).toEqual([0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 9]);
  });

  it('gives the same view again, and another where the range is another', () => {
    const buffer = new ArrayBuffer(2 ** 23);
    const mapping = new Mapping({ iova: 0x100, length: 2 ** 23, access: Access.READ_WRITE, buffer });
    const first = mapping.segment(0x1100, 0x2100);
    expect(mapping.segment(0x1100, 0x2100)).toBe(first);
    for (const [start, end] of [
      [0x1100, 0x1900],
      [0x1104, 0x2100],
      // What is remembered for the first page is forgotten for one of these in the end.
      ...Array.from({ length: 1024 }, (_, i) => [0x2100 + i * 4096, 0x2100 + i * 4096 + 512]),
      [0x1100, 0x2100],
      [0x100, 0x100 + 2 ** 23],
    ] as [number, number][]) {
      const view = mapping.segment(start, end);
      expect([view.buffer, view.byteOffset, view.length]).toEqual([buffer, start - 0x100, end - start]);
    }
  });

  it('asks for pages of its buffer, wherever in that its range begins', () => {
    const asked: number[] = [];
    const probe = (offset: number): boolean => {
      asked.push(offset);
      return offset !== 8192;
    };
    const buffer = new ArrayBuffer(16384);
    const mapping = new Mapping({
      iova: 0x100,
      length: 8192,
      access: Access.READ,
      buffer,
      offset: 4096,
      probe,
    });
    expect(mapping.present(0x100, 0x1100)).toBe(true);
    expect(mapping.present(0x1100, 0x1101)).toBe(false);
    expect(asked).toEqual([4096, 8192]);
  });

  it('has every page when nobody says otherwise', () => {
    const mapping = new Mapping({ iova: 0, length: 64, access: Access.READ, buffer: counting(64) });
    expect(mapping.present(0, 64)).toBe(true);
  });

  it('leaves no usable view behind when it is unmapped', () => {
    const mapping = new Mapping({ iova: 0, length: 64, access: Access.READ_WRITE, buffer: counting(64) });
    const segment = mapping.segment(0, 64);
    mapping.unmap();
    expect(segment.length).toBe(0);
    expect(() => mapping.segment(0, 64)).toThrow(TypeError);
    expect(() => mapping.storeByte(0, 1)).toThrow(TypeError);
    expect(() => mapping.load(0, 4, new Scratch(4), 0)).toThrow(TypeError);
  });

  it.each([
    ['reaches beyond its buffer', { iova: 0, length: 65, offset: 0 }],
    ['reaches beyond its buffer because of the offset', { iova: 0, length: 64, offset: 1 }],
    ['has a negative offset', { iova: 0, length: 1, offset: -1 }],
    ['starts below 0', { iova: -1, length: 1, offset: 0 }],
    ['ends above 2^53', { iova: 2 ** 53 - 8, length: 16, offset: 0 }],
  ])('refuses a range that %s', (_, range) => {
    const make = () => new Mapping({ ...range, access: Access.READ, buffer: new ArrayBuffer(64) });
    expect(make).toThrow(RangeError);
  });
});

describe('a 64-bit number in two halves', () => {
  it('is exact below 2^53 and -1 from there on', () => {
    expect(u64(0xffff_ffff, 0x1f_ffff)).toBe(2 ** 53 - 1);
    expect(u64(0, 0x20_0000)).toBe(-1);
    expect(u64(0xffff_ffff, 0xffff_ffff)).toBe(-1);
    expect(u64(5, 1)).toBe(2 ** 32 + 5);
  });
});
