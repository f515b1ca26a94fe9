import type { Volume } from '../../core/api/device.ts';
import {
  NBD_FLAG_CAN_MULTI_CONN,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_SEND_CACHE,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FAST_ZERO,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
  NBD_PORTABLE_MAX_PAYLOAD,
} from '../../core/nbd/protocol.ts';

/** The disk as the negotiation describes it. Sizes in bytes. */
export interface ExportOffer {
  readonly name: string;
  readonly description: string;
  readonly size: number;
  readonly minBlock: number;
  readonly preferredBlock: number;
  readonly maxPayload: number;
  /** NBD_FLAG_* of a connection; `structured`: replies come in chunks. */
  flags(structured: boolean): number;
}

export function exportOffer(volume: Volume, name: string): ExportOffer {
  const { caps, limits } = volume;
  let flags = NBD_FLAG_HAS_FLAGS;
  // Every connection calls the same volume: a flush of any covers what completed on all of them.
  flags |= NBD_FLAG_CAN_MULTI_CONN;
  if (caps.prefetch) flags |= NBD_FLAG_SEND_CACHE;
  if (!caps.write) flags |= NBD_FLAG_READ_ONLY;
  else {
    flags |= NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
    if (caps.discard) flags |= NBD_FLAG_SEND_TRIM;
  }
  return {
    name,
    description: `blockgate disk ${volume.name}`,
    size: volume.size,
    minBlock: limits.blockSize,
    preferredBlock: Math.max(limits.physicalBlockSize, 4096),
    maxPayload: NBD_PORTABLE_MAX_PAYLOAD,
    flags: (structured) => (structured ? flags | NBD_FLAG_SEND_DF : flags),
  };
}
