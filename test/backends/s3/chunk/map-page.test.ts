import { describe, expect, it } from 'vitest';
import {
  CHUNKS_PER_PAGE,
  decodeMapPage,
  encodeMapPage,
  MAP_PAGE_BYTES,
} from '../../../../backends/s3/chunk/map-page.ts';

const VOLUME = '0f8fad5b-d9cb-469f-a165-70867728950e';

function page(): Uint8Array {
  const bits = new Uint8Array(CHUNKS_PER_PAGE / 8);
  bits[5] = 0x81;
  return encodeMapPage({ volume: VOLUME, page: 3, sequence: 2 ** 40 + 1, bits });
}

describe('a page of the presence map', () => {
  it('is the same after it was stored and loaded', () => {
    const decoded = decodeMapPage(page());
    expect(decoded).toMatchObject({ volume: VOLUME, page: 3, sequence: 2 ** 40 + 1 });
    expect(typeof decoded === 'object' && decoded.bits[5]).toBe(0x81);
  });

  it.each([0, 8, 44, 48, 56, 60, 64, 70, MAP_PAGE_BYTES - 1])('is refused when byte %i is damaged', (at) => {
    const damaged = page();
    damaged[at]! ^= 4;
    expect(decodeMapPage(damaged)).toMatch(/checksum is wrong|not a page/);
  });

  it('is refused when it is too short', () => {
    expect(decodeMapPage(page().subarray(1))).toBe('it has 16447 bytes instead of 16448');
  });
});
