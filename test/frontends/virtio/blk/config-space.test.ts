import { describe, expect, it } from 'vitest';
import { blkConfigSpace, capacityField } from '../../../../frontends/virtio/blk/config-space.ts';
import { blkLimits } from '../../../../frontends/virtio/blk/limits.ts';
import { CAPS, LIMITS } from './queue-rig.ts';

function space(change: { size?: number; caps?: object; limits?: object; queues?: number } = {}) {
  const caps = { ...CAPS, ...change.caps };
  const limits = { ...LIMITS, ...change.limits };
  const { size = 10 * 2 ** 30, queues = 1 } = change;
  const bytes = blkConfigSpace({ size, caps, limits, blk: blkLimits(caps, limits, 256), queues });
  return { bytes, view: new DataView(bytes.buffer) };
}

describe('the configuration space', () => {
  it('has each field where the specification puts it', () => {
    const { bytes, view } = space({
      limits: {
        blockSize: 4096,
        physicalBlockSize: 16384,
        optimalIoSize: 2 ** 20,
        maxDiscard: 2 ** 30,
        discardGranularity: 2 ** 20,
        maxSegments: 100,
      },
      queues: 3,
    });
    expect(bytes).toHaveLength(96);
    expect({
      capacity: view.getBigUint64(0, true),
      size_max: view.getUint32(8, true),
      seg_max: view.getUint32(12, true),
      geometry: view.getUint32(16, true),
      blk_size: view.getUint32(20, true),
      physical_block_exp: bytes[24],
      alignment_offset: bytes[25],
      min_io_size: view.getUint16(26, true),
      opt_io_size: view.getUint32(28, true),
      writeback: bytes[32],
      num_queues: view.getUint16(34, true),
      max_discard_sectors: view.getUint32(36, true),
      max_discard_seg: view.getUint32(40, true),
      discard_sector_alignment: view.getUint32(44, true),
      max_write_zeroes_sectors: view.getUint32(48, true),
      max_write_zeroes_seg: view.getUint32(52, true),
      write_zeroes_may_unmap: bytes[56],
      rest: bytes.subarray(57).every((byte) => byte === 0),
    }).toEqual({
      capacity: 20971520n,
      size_max: 65536,
      seg_max: 100,
      geometry: 0,
      blk_size: 4096,
      physical_block_exp: 2,
      alignment_offset: 0,
      min_io_size: 4,
      opt_io_size: 256,
      writeback: 0,
      num_queues: 3,
      max_discard_sectors: 2097152,
      max_discard_seg: 64,
      discard_sector_alignment: 2048,
      max_write_zeroes_sectors: 2097152,
      max_write_zeroes_seg: 64,
      write_zeroes_may_unmap: 1,
      rest: true,
    });
  });

  it('says nothing of discard and zeros on a disk without them', () => {
    for (const caps of [{ write: false }, { discard: false, writeZeroes: 'none' }])
      expect(
        space({ caps })
          .bytes.subarray(36)
          .every((byte) => byte === 0),
      ).toBe(true);
  });

  it('does not promise that emulated zeros free space', () => {
    const { bytes, view } = space({ caps: { writeZeroes: 'emulate' } });
    expect([view.getUint32(48, true), bytes[56]]).toEqual([32768, 0]);
  });

  it('cuts a hint off rather than let it overflow', () => {
    const { view } = space({ limits: { physicalBlockSize: 2 ** 30, optimalIoSize: 2 ** 50 } });
    expect([view.getUint16(26, true), view.getUint32(28, true)]).toEqual([0xffff, 0xffff_ffff]);
  });

  it('counts capacity in sectors of 512 bytes, beyond 2^32 of them', () => {
    const bytes = capacityField(2 ** 53 - 512);
    expect(new DataView(bytes.buffer).getBigUint64(0, true)).toBe(2n ** 44n - 1n);
  });
});
