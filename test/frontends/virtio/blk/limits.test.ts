import { describe, expect, it } from 'vitest';
import { blkLimits } from '../../../../frontends/virtio/blk/limits.ts';
import { CAPS, LIMITS } from './queue-rig.ts';

describe('the limits of a request', () => {
  it('follow the queue where the store has none', () => {
    expect(blkLimits(CAPS, LIMITS, 256)).toEqual({
      blockSize: 512,
      sizeMax: 65536,
      segMax: 254,
      maxDiscardSectors: 0xffff_ffff,
      maxDiscardSegments: 64,
      maxWriteZeroesSectors: 0xffff_ffff,
      maxWriteZeroesSegments: 64,
    });
  });

  it('follow the store where it has some', () => {
    const limits = { ...LIMITS, maxSegments: 10, maxDiscard: 2 ** 20 };
    expect(blkLimits(CAPS, limits, 256)).toMatchObject({
      segMax: 10,
      maxDiscardSectors: 2048,
      maxWriteZeroesSectors: 2048,
    });
  });

  it('keep zeros short that have to be written out', () => {
    const caps = { ...CAPS, writeZeroes: 'emulate' } as const;
    expect(blkLimits(caps, LIMITS, 256).maxWriteZeroesSectors).toBe(32768);
  });

  it('are whole blocks', () => {
    const limits = { ...LIMITS, blockSize: 4096, maxDiscard: 10_000 };
    expect(blkLimits(CAPS, limits, 256).maxDiscardSectors).toBe(16);
    expect(blkLimits(CAPS, { ...limits, maxDiscard: LIMITS.maxDiscard }, 256).maxDiscardSectors).toBe(
      0xffff_fff8,
    );
  });

  it('leave room for one segment on the smallest queue', () => {
    expect(blkLimits(CAPS, LIMITS, 3).segMax).toBe(1);
  });

  it.each([256, 8192, 1000])('cannot be made for blocks of %i bytes', (blockSize) => {
    expect(() => blkLimits(CAPS, { ...LIMITS, blockSize }, 256)).toThrow(
      expect.objectContaining({
        code: 'virtio.block-size',
        message: `A virtio disk cannot have blocks of ${blockSize} bytes.`,
      }),
    );
  });
});
