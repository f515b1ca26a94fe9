import type { ResolvedCaps, ResolvedLimits } from '../../../core/api/device.ts';
import { BlkConfigOffset as At, BLK_CONFIG_SIZE, SECTOR_SIZE } from '../abi/virtio-blk.ts';
import type { BlkLimits } from './limits.ts';

const U16_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;

export interface BlkConfigInput {
  /** Bytes. */
  readonly size: number;
  readonly caps: ResolvedCaps;
  readonly limits: ResolvedLimits;
  readonly blk: BlkLimits;
  /** Number of request queues, 1 … 65535. */
  readonly queues: number;
}

/** The 96 bytes of `struct virtio_blk_config` (VIRTIO 1.3, 5.2.4) for everything `offeredFeatures` may offer. */
export function blkConfigSpace({ size, caps, limits, blk, queues }: BlkConfigInput): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(BLK_CONFIG_SIZE);
  const view = new DataView(bytes.buffer);
  const u16 = (at: number, value: number): void => view.setUint16(at, Math.min(value, U16_MAX), true);
  const u32 = (at: number, value: number): void => view.setUint32(at, Math.min(value, U32_MAX), true);
  const blocks = (length: number): number =>
    Number.isFinite(length) ? Math.floor(length / blk.blockSize) : 0;

  bytes.set(capacityField(size), At.CAPACITY);
  u32(At.SIZE_MAX, blk.sizeMax);
  u32(At.SEG_MAX, blk.segMax);
  u32(At.BLK_SIZE, blk.blockSize);
  bytes[At.PHYSICAL_BLOCK_EXP] = Math.max(0, Math.floor(Math.log2(limits.physicalBlockSize / blk.blockSize)));
  u16(At.MIN_IO_SIZE, Math.max(1, blocks(limits.physicalBlockSize)));
  u32(At.OPT_IO_SIZE, blocks(limits.optimalIoSize));
  u16(At.NUM_QUEUES, queues);
  if (caps.write && caps.discard) {
    u32(At.MAX_DISCARD_SECTORS, blk.maxDiscardSectors);
    u32(At.MAX_DISCARD_SEG, blk.maxDiscardSegments);
    u32(
      At.DISCARD_SECTOR_ALIGNMENT,
      Math.floor(Math.max(limits.discardGranularity, blk.blockSize) / SECTOR_SIZE),
    );
  }
  if (caps.write && caps.writeZeroes !== 'none') {
    u32(At.MAX_WRITE_ZEROES_SECTORS, blk.maxWriteZeroesSectors);
    u32(At.MAX_WRITE_ZEROES_SEG, blk.maxWriteZeroesSegments);
    bytes[At.WRITE_ZEROES_MAY_UNMAP] = caps.writeZeroes === 'native' ? 1 : 0;
  }
  return bytes;
}

/** The `capacity` field alone, at offset 0: what a resize writes. `size` in bytes; an unfinished sector is left out. */
export function capacityField(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.floor(size / SECTOR_SIZE)), true);
  return bytes;
}
