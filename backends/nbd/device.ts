// hot path: see ARCHITECTURE.md "Data plane"

import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_SEND_CACHE,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FAST_ZERO,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
} from '../../core/nbd/protocol.ts';
import {
  type BlockDevice,
  BlockError,
  copyOut,
  type DeviceInfo,
  type Extent,
  IoFlag,
  type IoFlags,
  type IoVec,
  iovLength,
} from '../../core/plugin.ts';
import { notGrown } from './errors.ts';
import type { ExportInfo } from './export-info.ts';
import type { NbdLink } from './link.ts';
import { NbdRequest } from './request.ts';

/** Every server takes reads up to here that must not come in pieces (doc/proto.md, NBD_CMD_FLAG_DF). */
const DF_MAX = 64 * 1024;
/** Requests without data have a length of 32 bits, and of 64 with extended headers: enough for any disk of today. */
const MAX_LENGTH = 2 ** 31;
const MAX_EXTENDED_LENGTH = 2 ** 46;

/** The disk that an export is. Disposal ends `link`. */
export function nbdDevice(link: NbdLink): BlockDevice {
  const { flags, structured, allocationContext } = link.info;
  const has = (flag: number): boolean => (flags & flag) !== 0;
  const info = { ...deviceInfo(link.info) };
  const df = structured && has(NBD_FLAG_SEND_DF) ? NBD_CMD_FLAG_DF : 0;
  const fua = (io: IoFlags): number => ((io & IoFlag.FUA) === 0 ? 0 : NBD_CMD_FLAG_FUA);
  const send = (command: number, bits: number, offset: number, length: number): Promise<void> =>
    link.submit(new NbdRequest(command, bits, offset, length));
  return {
    info,
    read(offset, iov) {
      const length = iovLength(iov);
      return link.submit(new NbdRequest(NBD_CMD_READ, length <= DF_MAX ? df : 0, offset, length, { iov }));
    },
    ...(!has(NBD_FLAG_READ_ONLY) && {
      write: (offset: number, iov: IoVec, io: IoFlags) => {
        const data = Buffer.allocUnsafe(iovLength(iov));
        copyOut(iov, data);
        return link.submit(new NbdRequest(NBD_CMD_WRITE, fua(io), offset, data.length, { data }));
      },
      ...(has(NBD_FLAG_SEND_FLUSH) && { flush: () => send(NBD_CMD_FLUSH, 0, 0, 0) }),
      ...(has(NBD_FLAG_SEND_TRIM) && {
        discard: (offset: number, length: number, io: IoFlags) => send(NBD_CMD_TRIM, fua(io), offset, length),
      }),
      ...(has(NBD_FLAG_SEND_WRITE_ZEROES) && {
        writeZeroes: (offset: number, length: number, io: IoFlags) => {
          let bits = fua(io) | ((io & IoFlag.MAY_UNMAP) === 0 ? NBD_CMD_FLAG_NO_HOLE : 0);
          if ((io & IoFlag.NO_FALLBACK) !== 0) {
            if (!has(NBD_FLAG_SEND_FAST_ZERO))
              throw new BlockError('ENOTSUP', 'the NBD server cannot say whether writing zeros is fast');
            bits |= NBD_CMD_FLAG_FAST_ZERO;
          }
          return send(NBD_CMD_WRITE_ZEROES, bits, offset, length);
        },
      }),
    }),
    ...(allocationContext !== undefined && {
      extents: (offset: number, length: number) => extents(link, offset, length),
    }),
    ...(has(NBD_FLAG_SEND_CACHE) && {
      prefetch: (offset: number, length: number) => send(NBD_CMD_CACHE, 0, offset, length),
    }),
    async resize(wanted) {
      const { size } = await link.refresh();
      if (wanted !== undefined && wanted !== size) throw notGrown(size, wanted);
      info.size = size;
    },
    status: () => link.status(),
    [Symbol.asyncDispose]: () => link[Symbol.asyncDispose](),
  };
}

function deviceInfo({ size, flags, minBlock, preferredBlock, maxPayload, extended }: ExportInfo): DeviceInfo {
  return {
    size,
    caps: {
      concurrency: 'parallel',
      readOnly: (flags & NBD_FLAG_READ_ONLY) !== 0,
      ...((flags & NBD_FLAG_SEND_FUA) !== 0 && { fua: 'native' }),
    },
    limits: {
      blockSize: minBlock,
      physicalBlockSize: Math.min(preferredBlock, 65536),
      optimalIoSize: preferredBlock,
      maxIo: maxPayload,
      maxDiscard: maxLength(extended),
    },
  };
}

const maxLength = (extended: boolean): number => (extended ? MAX_EXTENDED_LENGTH : MAX_LENGTH);

/** The server may tell of less than it is asked for. */
async function extents(link: NbdLink, offset: number, length: number): Promise<Extent[]> {
  const found: Extent[] = [];
  const end = offset + length;
  const most = maxLength(link.info.extended);
  for (let at = offset; at < end; ) {
    const request = new NbdRequest(NBD_CMD_BLOCK_STATUS, 0, at, Math.min(end - at, most));
    await link.submit(request);
    found.push(...request.extents);
    const last = request.extents.at(-1)!;
    at = last.offset + last.length;
  }
  return found;
}
