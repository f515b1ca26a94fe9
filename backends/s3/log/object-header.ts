import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { type ObjectCipher, TABLES, TAG_BYTES, type VolumeKey } from './encryption/volume-key.ts';
import type { LogPosition } from './names.ts';

/**
 * A data object of the log: this header, then its frames one after another. All numbers are little-endian.
 *
 *   0    magic "BGLOGOBJ"
 *   8    u32 version, u32 flags, u32 bytes of the header, u32 CRC-32 of the header with this field as 0
 *   24   16 bytes volume, 16 bytes nonce of the writer
 *   56   u64 epoch, u64 sequence
 *   72   32 bytes SHA-256 of the header before: that of the object before, or of the last object of the parent
 *   104  u64 epoch, u64 sequence of the parent: in the first object of an epoch, where the epoch before ends
 *   120  u64 first and last request in it, counted from the beginning of the epoch
 *   136  u32 blocks of data, u32 extents, u32 frames, u32 sources
 *   152  extents, 24 bytes each: u64 first block of the disk, u32 blocks, u16 kind, u16 source, u32 block in this
 *        object, u32 block in the source
 *   …    frames, 12 bytes each: u32 stored bytes, u32 codec (`Codec`), u32 CRC-32 of the stored bytes
 *   …    sources, 16 bytes each: u64 epoch, u64 sequence
 *
 * Version 1 has no codecs but `NONE` and nothing encrypted; version 2 is written only where there is something that version 1
 * lacks. In an object that is encrypted, what follows the first 152 bytes is sealed as one part with these as what must not
 * change, and each frame as another; the CRCs are of what is stored.
 *
 * The header comes first, so that a recovery needs no more than the beginning of each object. CRC-32 and not CRC-32C:
 * Node.js has the former in native code.
 */

export const BLOCK = 4096;
/** What is stored, compressed and checked as one. */
export const FRAME_BLOCKS = 4;
export const FRAME = FRAME_BLOCKS * BLOCK;

const MAGIC = Buffer.from('BGLOGOBJ');
/** The newest that is known. */
const VERSION = 2;
const FIXED = 152;
const EXTENT = 24;
const FRAME_ENTRY = 12;
const SOURCE = 16;
/** Of a header: more is damage. Bytes. */
const MAX_HEADER = 64 * 2 ** 20;

const Flag = { FENCE: 1, ENCRYPTED: 2 } as const;
const KNOWN_FLAGS = Flag.FENCE | Flag.ENCRYPTED;

/** How a frame is stored. */
export const Codec = { NONE: 0, ZSTD: 1, LZ4: 2 } as const;

export type ExtentKind = 'data' | 'zero' | 'copy';
const KINDS: readonly ExtentKind[] = ['data', 'zero', 'copy'];

/** What happened to a run of blocks of the disk. In the order in which it happened. */
export interface LogExtent {
  readonly kind: ExtentKind;
  /** First block of the disk. */
  readonly lba: number;
  readonly blocks: number;
  /** First block among the data of the object; nothing for `zero`. */
  readonly block: number;
  /** Of a `copy`: where the same data was before. It counts only while the disk still has it from there. */
  readonly source?: LogPosition & { readonly block: number };
}

export interface FrameEntry {
  /** Bytes. */
  readonly stored: number;
  /** One of `Codec`. */
  readonly codec: number;
  /** Of the stored bytes. */
  readonly crc: number;
}

export interface ObjectHeader {
  readonly volume: Buffer;
  readonly nonce: Buffer;
  readonly place: LogPosition;
  readonly isFence: boolean;
  readonly previous: Buffer;
  readonly parent: LogPosition;
  readonly firstRequest: number;
  readonly lastRequest: number;
  /** Blocks of data. */
  readonly blocks: number;
  readonly extents: readonly LogExtent[];
  readonly frames: readonly FrameEntry[];
  /** Of an object that is encrypted. */
  readonly cipher: ObjectCipher | undefined;
}

/** With which an object is opened: where it is, and the key of its volume. */
export interface Opening {
  readonly name: string;
  /** Undefined: nothing in the volume is encrypted. */
  readonly key: VolumeKey | undefined;
}

export const NO_HASH = Buffer.alloc(32);

export function hashHeader(header: Uint8Array): Buffer {
  return createHash('sha256').update(header).digest();
}

/** What is wrong with an object of `size` bytes with this header, of `headerBytes`. */
export function sizeProblem({ frames }: ObjectHeader, headerBytes: number, size: number): string | undefined {
  const all = frames.reduce((sum, { stored }) => sum + stored, headerBytes);
  return all === size ? undefined : `it has ${size} bytes, and its header describes ${all}`;
}

export function encodeHeader(header: ObjectHeader): Buffer {
  const { extents, frames, cipher } = header;
  const sources: LogPosition[] = [];
  const sourceIndex = new Map<string, number>();
  const indexOf = ({ epoch, seq }: LogPosition): number => {
    const key = `${epoch}-${seq}`;
    let index = sourceIndex.get(key);
    if (index === undefined) {
      index = sources.push({ epoch, seq }) - 1;
      sourceIndex.set(key, index);
    }
    return index;
  };
  for (const { source } of extents) if (source !== undefined) indexOf(source);
  const length = FIXED + extents.length * EXTENT + frames.length * FRAME_ENTRY + sources.length * SOURCE;
  const bytes = Buffer.alloc(cipher === undefined ? length : length + TAG_BYTES);
  MAGIC.copy(bytes);
  const isNew = cipher !== undefined || frames.some(({ codec }) => codec !== Codec.NONE);
  bytes.writeUInt32LE(isNew ? 2 : 1, 8);
  bytes.writeUInt32LE((header.isFence ? Flag.FENCE : 0) | (cipher === undefined ? 0 : Flag.ENCRYPTED), 12);
  bytes.writeUInt32LE(bytes.length, 16);
  header.volume.copy(bytes, 24);
  header.nonce.copy(bytes, 40);
  writePlace(bytes, 56, header.place);
  header.previous.copy(bytes, 72);
  writePlace(bytes, 104, header.parent);
  writeU64(bytes, 120, header.firstRequest);
  writeU64(bytes, 128, header.lastRequest);
  bytes.writeUInt32LE(header.blocks, 136);
  bytes.writeUInt32LE(extents.length, 140);
  bytes.writeUInt32LE(frames.length, 144);
  bytes.writeUInt32LE(sources.length, 148);
  let at = FIXED;
  for (const { kind, lba, blocks, block, source } of extents) {
    writeU64(bytes, at, lba);
    bytes.writeUInt32LE(blocks, at + 8);
    bytes.writeUInt16LE(KINDS.indexOf(kind), at + 12);
    bytes.writeUInt16LE(source === undefined ? 0 : indexOf(source), at + 14);
    bytes.writeUInt32LE(block, at + 16);
    bytes.writeUInt32LE(source?.block ?? 0, at + 20);
    at += EXTENT;
  }
  for (const { stored, codec, crc } of frames) {
    bytes.writeUInt32LE(stored, at);
    bytes.writeUInt32LE(codec, at + 4);
    bytes.writeUInt32LE(crc, at + 8);
    at += FRAME_ENTRY;
  }
  for (const source of sources) {
    writePlace(bytes, at, source);
    at += SOURCE;
  }
  cipher?.seal(TABLES, bytes.subarray(FIXED, length), bytes.subarray(0, FIXED)).copy(bytes, FIXED);
  bytes.writeUInt32LE(crc32(bytes), 20);
  return bytes;
}

/** Bytes of the header that begins like this, or what is wrong with it. */
export function headerLength(start: Uint8Array): number | string {
  const bytes = view(start);
  if (bytes.length < FIXED) return `${bytes.length} bytes are no object of a log`;
  if (!bytes.subarray(0, 8).equals(MAGIC)) return 'it does not begin as an object of a log does';
  const version = bytes.readUInt32LE(8);
  if (version < 1 || version > VERSION)
    return `it has version ${version}, and this blockgate knows 1 to ${VERSION}`;
  const length = bytes.readUInt32LE(16);
  return length < FIXED || length > MAX_HEADER ? `its header claims ${length} bytes` : length;
}

/** `start` begins with a whole header. Returns it, or what is wrong with it. */
export function decodeHeader(start: Uint8Array, { name, key }: Opening): ObjectHeader | string {
  const length = headerLength(start);
  if (typeof length === 'string') return length;
  if (start.length < length) return `it ends within its header, after ${start.length} of ${length} bytes`;
  const bytes = Buffer.from(start.subarray(0, length));
  const crc = bytes.readUInt32LE(20);
  bytes.writeUInt32LE(0, 20);
  if (crc32(bytes) !== crc) return 'the checksum of its header is wrong';
  const flags = bytes.readUInt32LE(12);
  if ((flags & ~KNOWN_FLAGS) !== 0) return `it has flags that this blockgate does not know: ${flags}`;
  const isEncrypted = (flags & Flag.ENCRYPTED) !== 0;
  if (isEncrypted && key === undefined) return 'it is encrypted, and the volume is not';
  // Whoever can write to the bucket must not be able to put in what the key does not vouch for.
  if (!isEncrypted && key !== undefined) return 'it is not encrypted, and the volume is';
  const [volume, nonce] = [bytes.subarray(24, 40), bytes.subarray(40, 56)];
  const cipher = key?.cipher(name, nonce, volume);
  const overhead = cipher === undefined ? 0 : TAG_BYTES;
  const [blocks, extentCount, frameCount, sourceCount] = [136, 140, 144, 148].map((at) =>
    bytes.readUInt32LE(at),
  ) as [number, number, number, number];
  const end = FIXED + extentCount * EXTENT + frameCount * FRAME_ENTRY + sourceCount * SOURCE;
  if (end + overhead !== length) return 'the tables of its header do not fill it';
  if (cipher !== undefined) {
    try {
      cipher.open(TABLES, bytes.subarray(FIXED), bytes.subarray(0, FIXED)).copy(bytes, FIXED);
    } catch (error) {
      return `its header cannot be opened: ${(error as Error).message}`;
    }
  }
  if (frameCount !== Math.ceil(blocks / FRAME_BLOCKS)) return 'it has too many frames, or too few';
  const framesAt = FIXED + extentCount * EXTENT;
  const sourcesAt = framesAt + frameCount * FRAME_ENTRY;
  const sources = Array.from({ length: sourceCount }, (_, i) => readPlace(bytes, sourcesAt + i * SOURCE));
  const extents: LogExtent[] = [];
  for (let at = FIXED; at < framesAt; at += EXTENT) {
    const kind = KINDS[bytes.readUInt16LE(at + 12)];
    const source = sources[bytes.readUInt16LE(at + 14)];
    const extent = {
      lba: readU64(bytes, at),
      blocks: bytes.readUInt32LE(at + 8),
      block: bytes.readUInt32LE(at + 16),
    };
    if (kind === undefined || (kind === 'copy' && source === undefined)) return 'an extent makes no sense';
    if (kind !== 'zero' && extent.block + extent.blocks > blocks) return 'an extent lies outside of its data';
    extents.push({
      kind,
      ...extent,
      ...(kind === 'copy' && { source: { ...source!, block: bytes.readUInt32LE(at + 20) } }),
    });
  }
  const frames = Array.from({ length: frameCount }, (_, i) => {
    const at = framesAt + i * FRAME_ENTRY;
    return {
      stored: bytes.readUInt32LE(at),
      codec: bytes.readUInt32LE(at + 4),
      crc: bytes.readUInt32LE(at + 8),
    };
  });
  for (const [i, frame] of frames.entries()) {
    const wrong = wrongFrame(frame, Math.min(FRAME, (blocks - i * FRAME_BLOCKS) * BLOCK), overhead);
    if (wrong !== undefined) return wrong;
  }
  return {
    volume,
    nonce,
    place: readPlace(bytes, 56),
    isFence: (flags & Flag.FENCE) !== 0,
    previous: bytes.subarray(72, 104),
    parent: readPlace(bytes, 104),
    firstRequest: readU64(bytes, 120),
    lastRequest: readU64(bytes, 128),
    blocks,
    extents,
    frames,
    cipher,
  };
}

/** `length`: bytes of data in it. `overhead`: bytes that encryption adds. */
function wrongFrame({ stored, codec }: FrameEntry, length: number, overhead: number): string | undefined {
  if (codec > Codec.LZ4) return `a frame is stored in a way that this blockgate does not know: ${codec}`;
  const bytes = stored - overhead;
  const isPossible = codec === Codec.NONE ? bytes === length : bytes > 0 && bytes < length;
  return isPossible ? undefined : `a frame of ${length} bytes claims ${stored} stored bytes`;
}

export const uuidBytes = (uuid: string): Buffer => Buffer.from(uuid.replaceAll('-', ''), 'hex');

const view = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const writeU64 = (bytes: Buffer, at: number, value: number): unknown =>
  bytes.writeBigUInt64LE(BigInt(value), at);
const readU64 = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

function writePlace(bytes: Buffer, at: number, { epoch, seq }: LogPosition): void {
  writeU64(bytes, at, epoch);
  writeU64(bytes, at + 8, seq);
}

const readPlace = (bytes: Buffer, at: number): LogPosition => ({
  epoch: readU64(bytes, at),
  seq: readU64(bytes, at + 8),
});
