import { describe, expect, it } from 'vitest';
import { checkBounce, requiredBounce } from '../../../frontends/vduse/bounce.ts';
import { blkLimits } from '../../../frontends/virtio/blk/limits.ts';
import { CAPS, LIMITS } from '../virtio/blk/queue-rig.ts';

const MIB = 2 ** 20;
const PAGE = 4096;
const limits = (segMax: number, sizeMax = 65536) => ({ ...blkLimits(CAPS, LIMITS, 256), segMax, sizeMax });

/**
 * Places for `sizes` bytes each, as the kernel's IOVA allocator finds them: from the top down, rounded up to powers of
 * two pages and aligned to that, page 0 left out. False when there is none for one of them.
 */
function fits(bounce: number, sizes: readonly number[]): boolean {
  const taken = new Uint8Array(bounce / PAGE);
  taken[0] = 1;
  return sizes.every((size) => {
    const pages = 2 ** Math.ceil(Math.log2(Math.max(1, size / PAGE)));
    for (let at = taken.length - pages; at >= 0; at -= pages) {
      if (taken.subarray(at, at + pages).some((page) => page === 1)) continue;
      taken.fill(1, at, at + pages);
      return true;
    }
    return false;
  });
}

describe('the bounce memory that a disk needs', () => {
  it('holds a whole request, however its segments alternate', () => {
    for (const segMax of [1, 2, 6, 12, 30, 254]) {
      const bounce = requiredBounce(limits(segMax));
      for (const pattern of [[65536], [4096, 65536], [65536, 4096], [36864], [32768, 65536], [4096]]) {
        const data = Array.from({ length: segMax }, (_, i) => pattern[i % pattern.length]!);
        expect(fits(bounce, [16, ...data, 1, 16 * (segMax + 2)])).toBe(true);
      }
    }
  });

  it('is not much more than the least with which there is such a request', () => {
    expect(fits(requiredBounce(limits(12)) - 3 * 65536, [16, ...Array(12).fill(65536), 1, 224])).toBe(false);
  });

  it('counts segments of an odd size as large as the place they take', () => {
    expect(requiredBounce(limits(4, 65536 + PAGE))).toBe(8 * 131072);
  });
});

describe('a disk', () => {
  it('may have the bounce memory of the kernel with any queue, and less with small ones', () => {
    expect(() => checkBounce(limits(254))).not.toThrow();
    expect(() => checkBounce(limits(12), MIB)).not.toThrow();
    expect(() => checkBounce(limits(28), 2 * MIB)).not.toThrow();
  });

  it.each([
    [13, MIB, 'Raise "bounceSize" to 2 MiB, or lower "queueSize" to 14 or less.'],
    [254, 2 * MIB, 'Raise "bounceSize" to 17 MiB, or lower "queueSize" to 30 or less.'],
    [1, 2 ** 18, 'Raise "bounceSize" to 1 MiB.'],
  ])('is refused with %i segments in %i bytes, and told what would do', (segMax, size, fix) => {
    expect(() => checkBounce(limits(segMax), size)).toThrow(
      expect.objectContaining({ code: 'vduse.bounce-too-small', fix }),
    );
  });
});
