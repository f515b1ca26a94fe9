import { crc32 } from 'node:zlib';
import { BLOCK } from '../object-header.ts';

/**
 * A journal: its header twice, at 0 and at 4096, of which the valid one with the higher generation counts; then, from 8192
 * on, records in a ring. All numbers are little-endian.
 *
 * Header, 4096 bytes:
 *   0    magic "BGJOURNL"
 *   8    u32 version, u32 CRC-32 of all 4096 bytes with this field as 0
 *   16   u64 generation
 *   24   16 bytes volume, 16 bytes nonce of the writer, 16 bytes session, 16 bytes session before
 *   88   u64 bytes of the ring, u64 tail: where the first record that counts begins
 *
 * Record, a multiple of 4096 bytes:
 *   0    magic "BGJR"
 *   4    u32 CRC-32 of the whole record with this field as 0; of one that only fills the ring up to its end, of 4096 bytes
 *   8    16 bytes session
 *   24   u64 position: counts on where the ring begins again, so that none of an earlier round is taken for one of this
 *   32   u32 bytes, u32 changes; 0: it fills the ring up to its end
 *   40   changes, 16 bytes each: u64 first block of the disk, u32 blocks, u32 kind (1: data, 2: zeros)
 *   …    zeros up to a multiple of 4096, then the data of the changes in their order
 */

export const SECTOR = 4096;
/** Where the ring begins. */
export const RING = 2 * SECTOR;

const HEADER_MAGIC = Buffer.from('BGJOURNL');
const RECORD_MAGIC = Buffer.from('BGJR');
const VERSION = 1;
const ENTRY = 16;
const FIXED = 40;
const Kind = { DATA: 1, ZEROS: 2 } as const;

export interface JournalHeader {
  readonly generation: number;
  readonly volume: Buffer;
  /** Of the writer that it belongs to. */
  readonly nonce: Buffer;
  /** Names what is in it; new for every writer. */
  readonly session: Buffer;
  /** The session before, all of which is in the store. */
  readonly before: Buffer;
  /** Bytes of the ring. */
  readonly capacity: number;
  readonly tail: number;
}

/** What happened to a run of blocks. Without `data` they are zeros. */
export interface JournalChange {
  readonly lba: number;
  readonly blocks: number;
  readonly data?: Buffer;
}

export function encodeJournalHeader(header: JournalHeader): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  HEADER_MAGIC.copy(bytes);
  bytes.writeUInt32LE(VERSION, 8);
  writeU64(bytes, 16, header.generation);
  header.volume.copy(bytes, 24);
  header.nonce.copy(bytes, 40);
  header.session.copy(bytes, 56);
  header.before.copy(bytes, 72);
  writeU64(bytes, 88, header.capacity);
  writeU64(bytes, 96, header.tail);
  bytes.writeUInt32LE(crc32(bytes), 12);
  return bytes;
}

/** `foreign`: something else is there. Undefined: damaged, or only half of it was written. */
export function decodeJournalHeader(bytes: Buffer): JournalHeader | 'empty' | 'foreign' | undefined {
  if (bytes.every((byte) => byte === 0)) return 'empty';
  if (!bytes.subarray(0, 8).equals(HEADER_MAGIC) || bytes.readUInt32LE(8) !== VERSION) return 'foreign';
  if (!checksumHolds(bytes, 12)) return undefined;
  return {
    generation: readU64(bytes, 16),
    volume: Buffer.from(bytes.subarray(24, 40)),
    nonce: Buffer.from(bytes.subarray(40, 56)),
    session: Buffer.from(bytes.subarray(56, 72)),
    before: Buffer.from(bytes.subarray(72, 88)),
    capacity: readU64(bytes, 88),
    tail: readU64(bytes, 96),
  };
}

/** Bytes of the record that holds `changes` changes with so much data. */
export const recordBytes = (changes: number, dataBytes: number): number =>
  Math.ceil((FIXED + changes * ENTRY) / SECTOR) * SECTOR + dataBytes;

/** The record in pieces: its beginning, and the data as it is. */
export function encodeRecord(session: Buffer, position: number, changes: readonly JournalChange[]): Buffer[] {
  const data = changes.flatMap((change) => (change.data === undefined ? [] : [change.data]));
  const start = Buffer.alloc(recordBytes(changes.length, 0));
  const bytes = data.reduce((sum, { length }) => sum + length, start.length);
  beginRecord(start, session, position, bytes, changes.length);
  for (const [i, change] of changes.entries()) {
    const at = FIXED + i * ENTRY;
    writeU64(start, at, change.lba);
    start.writeUInt32LE(change.blocks, at + 8);
    start.writeUInt32LE(change.data === undefined ? Kind.ZEROS : Kind.DATA, at + 12);
  }
  start.writeUInt32LE(
    data.reduce((crc, piece) => crc32(piece, crc), crc32(start)),
    4,
  );
  return [start, ...data];
}

/** What fills the ring up to its end, `bytes` further on. */
export function encodeFiller(session: Buffer, position: number, bytes: number): Buffer {
  const start = Buffer.alloc(SECTOR);
  beginRecord(start, session, position, bytes, 0);
  start.writeUInt32LE(crc32(start), 4);
  return start;
}

/** Bytes of the record that should begin with `start`, at `position`; undefined: none does. */
export function lengthOfRecord(start: Buffer, session: Buffer, position: number): number | undefined {
  const isRecord =
    start.subarray(0, 4).equals(RECORD_MAGIC) &&
    start.subarray(8, 24).equals(session) &&
    readU64(start, 24) === position;
  const bytes = start.readUInt32LE(32);
  return isRecord && bytes >= SECTOR && bytes % SECTOR === 0 ? bytes : undefined;
}

/** Whether it only fills the ring up to its end. */
export const isFiller = (start: Buffer): boolean => start.readUInt32LE(36) === 0;

/** The changes of a record; undefined: only a part of it was written, or it is damaged. */
export function decodeRecord(bytes: Buffer): JournalChange[] | undefined {
  if (isFiller(bytes)) return checksumHolds(bytes.subarray(0, SECTOR), 4) ? [] : undefined;
  if (!checksumHolds(bytes, 4)) return undefined;
  const count = bytes.readUInt32LE(36);
  let data = recordBytes(count, 0);
  if (data > bytes.length) return undefined;
  const changes: JournalChange[] = [];
  for (let i = 0; i < count; i++) {
    const at = FIXED + i * ENTRY;
    const lba = readU64(bytes, at);
    const blocks = bytes.readUInt32LE(at + 8);
    if (bytes.readUInt32LE(at + 12) === Kind.ZEROS) {
      changes.push({ lba, blocks });
      continue;
    }
    const end = data + blocks * BLOCK;
    if (end > bytes.length) return undefined;
    changes.push({ lba, blocks, data: bytes.subarray(data, end) });
    data = end;
  }
  return changes;
}

function beginRecord(start: Buffer, session: Buffer, position: number, bytes: number, count: number): void {
  RECORD_MAGIC.copy(start);
  session.copy(start, 8);
  writeU64(start, 24, position);
  start.writeUInt32LE(bytes, 32);
  start.writeUInt32LE(count, 36);
}

/** The CRC-32 that is kept at `at` is that of all the rest. */
function checksumHolds(bytes: Buffer, at: number): boolean {
  const none = Buffer.alloc(4);
  const rest = crc32(bytes.subarray(at + 4), crc32(none, crc32(bytes.subarray(0, at))));
  return rest === bytes.readUInt32LE(at);
}

const writeU64 = (bytes: Buffer, at: number, value: number): unknown =>
  bytes.writeBigUInt64LE(BigInt(value), at);
const readU64 = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));
