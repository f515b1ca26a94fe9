import type { ResolvedCaps, ResolvedLimits } from '../../../core/api/device.ts';
import { GatewayError } from '../../../core/api/errors.ts';
import { SECTOR_SIZE } from '../abi/virtio-blk.ts';

/** What one request may ask for: told to the driver in the configuration space, enforced on every request. */
export interface BlkLimits {
  /** Logical block size in bytes: 512 … 4096, a power of two (Linux refuses others). */
  readonly blockSize: number;
  /** Bytes of one segment. */
  readonly sizeMax: number;
  /** Data segments of one request. */
  readonly segMax: number;
  /** Sectors of one discard segment. */
  readonly maxDiscardSectors: number;
  readonly maxDiscardSegments: number;
  /** Sectors of one write-zeroes segment. */
  readonly maxWriteZeroesSectors: number;
  readonly maxWriteZeroesSegments: number;
}

/**
 * Longer segments can leave a request with no place in VDUSE's bounce memory: addresses are allocated aligned to
 * their size, and the driver then retries for ever.
 */
const SIZE_MAX = 65536;
/** A request has two descriptors beside its data: header and status. */
const FRAMING_DESCRIPTORS = 2;
/** Segments are carried out one after the other, so their number bounds how long a request can take. */
const RANGE_SEGMENTS = 64;
/** Zeros that the gateway has to write out itself, per segment. */
const EMULATED_ZEROES_BYTES = 16 * 2 ** 20;
const MAX_BLOCK_SIZE = 4096;
const U32_MAX = 0xffff_ffff;

/** Derives the limits of a virtqueue with `queueSize` entries. Throws `virtio.block-size` when Linux would refuse. */
export function blkLimits(caps: ResolvedCaps, limits: ResolvedLimits, queueSize: number): BlkLimits {
  const { blockSize, maxDiscard, maxSegments } = limits;
  if (blockSize > MAX_BLOCK_SIZE || blockSize < SECTOR_SIZE || (blockSize & (blockSize - 1)) !== 0) {
    throw new GatewayError('virtio.block-size', `A virtio disk cannot have blocks of ${blockSize} bytes.`, {
      why: `Linux accepts powers of two from ${SECTOR_SIZE} to ${MAX_BLOCK_SIZE}.`,
      fix: 'Choose a block size in that range for the disk.',
    });
  }
  const zeroesBytes =
    caps.writeZeroes === 'native' ? maxDiscard : Math.min(maxDiscard, EMULATED_ZEROES_BYTES);
  return {
    blockSize,
    sizeMax: SIZE_MAX,
    segMax: Math.max(1, Math.min(maxSegments, queueSize - FRAMING_DESCRIPTORS)),
    maxDiscardSectors: sectors(maxDiscard, blockSize),
    maxDiscardSegments: RANGE_SEGMENTS,
    maxWriteZeroesSectors: sectors(zeroesBytes, blockSize),
    maxWriteZeroesSegments: RANGE_SEGMENTS,
  };
}

/** Bytes → sectors that a u32 can hold, whole blocks only, at least one block. */
function sectors(bytes: number, blockSize: number): number {
  const perBlock = blockSize / SECTOR_SIZE;
  const blocks = Math.floor(Math.min(bytes / SECTOR_SIZE, U32_MAX) / perBlock);
  return Math.max(1, blocks) * perBlock;
}
