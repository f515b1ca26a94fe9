import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { TABLES } from '../encryption/volume-key.ts';
import { type Opening, uuidBytes } from '../object-header.ts';

/**
 * What a guest reads first, as an object: units of 64 KiB, in the order in which it asked for them. Numbers are little-endian.
 *
 *   0   magic "BGLOGBPR"
 *   8   u32 version, u32 CRC-32 of all with this field as 0
 *   16  UUID of the volume
 *   32  u32 ranges, u32 bytes of a unit
 *   40  ranges, 12 bytes each: u64 first unit of the disk, u32 units
 *
 * Version 2, of a volume that is encrypted: 16 random bytes come after the first 40, and the ranges are sealed, with the first
 * 40 bytes as what must not change. The CRC is of what is stored.
 */
const MAGIC = Buffer.from('BGLOGBPR');
const PLAIN = 1;
const ENCRYPTED = 2;
const FIXED = 40;
const SALT = 16;
const RANGE = 12;

/** Bytes. */
export const UNIT = 64 * 1024;
/** Of one profile: a GiB. */
export const MAX_UNITS = 2 ** 14;
/** No profile is longer. Bytes. */
export const MAX_PROFILE = 2 ** 18;

/** Units behind the largest disk. */
const DISK_UNITS = 2 ** 53 / UNIT;

/** `units`: no more than `MAX_UNITS`, each once. `volume`: UUID. */
export function encodeProfile(units: Iterable<number>, volume: string, { name, key }: Opening): Buffer {
  const ranges = rangesOf(units);
  const fixed = Buffer.alloc(FIXED);
  MAGIC.copy(fixed);
  fixed.writeUInt32LE(key === undefined ? PLAIN : ENCRYPTED, 8);
  uuidBytes(volume).copy(fixed, 16);
  fixed.writeUInt32LE(ranges.length, 32);
  fixed.writeUInt32LE(UNIT, 36);
  const table = Buffer.alloc(ranges.length * RANGE);
  for (const [i, { first, count }] of ranges.entries()) {
    table.writeBigUInt64LE(BigInt(first), i * RANGE);
    table.writeUInt32LE(count, i * RANGE + 8);
  }
  const salt = randomBytes(SALT);
  const rest = key === undefined ? [table] : [salt, key.cipher(name, salt).seal(TABLES, table, fixed)];
  const all = Buffer.concat([fixed, ...rest]);
  all.writeUInt32LE(crc32(all), 12);
  return all;
}

/** The units in their order, without those that come again; undefined when it is another volume's; or what is wrong with it. */
export function decodeProfile(
  body: Uint8Array,
  volume: string,
  { name, key }: Opening,
): readonly number[] | string | undefined {
  const bytes = Buffer.from(body);
  if (bytes.length < FIXED || !bytes.subarray(0, 8).equals(MAGIC)) return 'it is no boot profile';
  const version = bytes.readUInt32LE(8);
  if (version < PLAIN || version > ENCRYPTED)
    return `it has version ${version}, and this blockgate knows ${PLAIN} to ${ENCRYPTED}`;
  const crc = bytes.readUInt32LE(12);
  bytes.writeUInt32LE(0, 12);
  if (crc32(bytes) !== crc) return 'its checksum is wrong';
  const fixed = bytes.subarray(0, FIXED);
  if (!uuidBytes(volume).equals(fixed.subarray(16, 32))) return undefined;
  if (version === ENCRYPTED && key === undefined) return 'it is encrypted, and the volume is not';
  if (version !== ENCRYPTED && key !== undefined) return 'it is not encrypted, and the volume is';
  if (fixed.readUInt32LE(36) !== UNIT) return `its units are not of ${UNIT} bytes`;
  let table: Buffer = bytes.subarray(FIXED);
  if (key !== undefined) {
    try {
      table = key.cipher(name, table.subarray(0, SALT)).open(TABLES, table.subarray(SALT), fixed);
    } catch (error) {
      return `it cannot be opened: ${(error as Error).message}`;
    }
  }
  if (table.length !== fixed.readUInt32LE(32) * RANGE) return 'its ranges do not fill it';
  return unitsOf(table);
}

function unitsOf(table: Buffer): readonly number[] | string {
  const units = new Set<number>();
  for (let at = 0; at < table.length; at += RANGE) {
    const first = Number(table.readBigUInt64LE(at));
    const count = table.readUInt32LE(at + 8);
    if (count > MAX_UNITS || first + count > DISK_UNITS) return 'a range of it is on no disk';
    for (let i = 0; i < count; i++) units.add(first + i);
    if (units.size > MAX_UNITS) return 'it is too large';
  }
  return [...units];
}

interface UnitRange {
  readonly first: number;
  count: number;
}

/** Neighbours that follow each other are one range. */
export function rangesOf(units: Iterable<number>): UnitRange[] {
  const ranges: UnitRange[] = [];
  for (const unit of units) {
    const last = ranges.at(-1);
    if (last !== undefined && unit === last.first + last.count) last.count++;
    else ranges.push({ first: unit, count: 1 });
  }
  return ranges;
}
