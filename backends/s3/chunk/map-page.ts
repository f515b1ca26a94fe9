import { crc32 } from 'node:zlib';

/**
 * One object of the presence map: a header and one bit per chunk. Little-endian.
 *
 *    0  4  magic "BGMP"
 *    4  4  format version
 *    8 36  UUID of the volume, ASCII
 *   44  4  page number
 *   48  8  sequence number, one higher with every write: no two versions of a page have the same ETag
 *   56  4  zero
 *   60  4  CRC-32 of everything else
 *   64     bits: chunk n of the page is bit n % 8 of byte n / 8
 */
const HEADER_BYTES = 64;
const MAGIC = 0x504d4742;
const FORMAT_VERSION = 1;

/** Bits of one page: 16 KiB, 128 GiB of disk with chunks of 1 MiB. */
export const CHUNKS_PER_PAGE = 128 * 1024;
const BIT_BYTES = CHUNKS_PER_PAGE / 8;
export const MAP_PAGE_BYTES = HEADER_BYTES + BIT_BYTES;

export interface MapPage {
  readonly volume: string;
  readonly page: number;
  readonly sequence: number;
  /** Exactly `CHUNKS_PER_PAGE / 8` bytes. */
  readonly bits: Uint8Array;
}

export function encodeMapPage({ volume, page, sequence, bits }: MapPage): Uint8Array {
  const bytes = Buffer.alloc(MAP_PAGE_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(FORMAT_VERSION, 4);
  bytes.write(volume, 8, 36, 'ascii');
  bytes.writeUInt32LE(page, 44);
  bytes.writeBigUInt64LE(BigInt(sequence), 48);
  bytes.set(bits, HEADER_BYTES);
  bytes.writeUInt32LE(checksum(bytes), 60);
  return bytes;
}

/** The page, or a sentence that says what is wrong with it. */
export function decodeMapPage(body: Uint8Array): MapPage | string {
  if (body.length !== MAP_PAGE_BYTES) return `it has ${body.length} bytes instead of ${MAP_PAGE_BYTES}`;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (bytes.readUInt32LE(0) !== MAGIC) return 'it is not a page of a presence map';
  if (bytes.readUInt32LE(60) !== checksum(bytes)) return 'its checksum is wrong';
  const version = bytes.readUInt32LE(4);
  if (version !== FORMAT_VERSION) return `its format version is ${version}, not ${FORMAT_VERSION}`;
  return {
    volume: bytes.toString('ascii', 8, 44),
    page: bytes.readUInt32LE(44),
    sequence: Number(bytes.readBigUInt64LE(48)),
    bits: bytes.subarray(HEADER_BYTES),
  };
}

function checksum(page: Buffer): number {
  return crc32(page.subarray(HEADER_BYTES), crc32(page.subarray(0, 60)));
}
