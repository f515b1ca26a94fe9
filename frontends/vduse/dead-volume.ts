import type { ResolvedCaps, ResolvedLimits, Volume } from '../../core/api/device.ts';
import { BlockError } from '../../core/api/errors.ts';
import { type BlkLimits, blkLimits } from '../virtio/blk/limits.ts';

const CAPS: ResolvedCaps = {
  write: true,
  flush: true,
  discard: true,
  writeZeroes: 'native',
  fua: 'none',
  extents: false,
  prefetch: false,
  concurrency: 'parallel',
  volatile: true,
  writeCache: 'none',
};

const LIMITS: ResolvedLimits = {
  blockSize: 512,
  physicalBlockSize: 512,
  optimalIoSize: 0,
  maxIo: Number.MAX_SAFE_INTEGER,
  maxSegments: Number.MAX_SAFE_INTEGER,
  maxDiscard: Number.MAX_SAFE_INTEGER,
  discardGranularity: 512,
};

/** A volume without a store: every request fails. It lets a driver that waits for its disk come to an end. */
export function deadVolume(name: string): { readonly volume: Volume; readonly limits: BlkLimits } {
  const fail = (): never => {
    throw new BlockError('EIO', 'the disk has no store any more');
  };
  const volume: Volume = {
    name,
    size: Number.MAX_SAFE_INTEGER,
    caps: CAPS,
    limits: LIMITS,
    inFlight: 0,
    read: fail,
    write: fail,
    flush: fail,
    discard: fail,
    writeZeroes: fail,
    extents: fail,
    prefetch: fail,
    drain: async () => {},
  };
  return { volume, limits: blkLimits(CAPS, LIMITS, 256) };
}
