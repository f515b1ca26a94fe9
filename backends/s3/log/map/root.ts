import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { TABLES, TAG_BYTES, type VolumeKey } from '../encryption/volume-key.ts';
import type { LogNames, LogPosition } from '../names.ts';
import type { Opening } from '../object-header.ts';
import type { StoredPage } from './map-page.ts';
import { Part, Places, type SliceRef } from './part.ts';

/**
 * A checkpoint: where the slices are of which the map of all blocks consists, and behind it those slices that are new; the
 * others are in checkpoints before. Numbers are little-endian.
 *
 *   0   magic "BGLOGMAP"
 *   8   u32 version, u32 CRC-32 of all up to the slices with this field as 0
 *   16  u64 epoch, u64 sequence of the last object of the log that is in it
 *   32  u32 bytes of what is between here and the slices, u32 0, u64 0
 *   48  16 random bytes; zeros in a volume that is not encrypted
 *   64  u32 bytes of the names of the places, u32 parts, u32 slices of the table of objects, u32 pages
 *   80  u64 blocks, u64 stored bytes in the objects of the table
 *   96  names of the places where parts lie, as prefixes, each ended by a line feed
 *   …   parts, 44 bytes each: u64 epoch, u64 number, u32 place, u32 where its slices begin, u32 bytes of them, 16 random bytes. The first
 *       is this checkpoint
 *   …   slices of the table, each u32 part, u32 offset, u32 length
 *   …   pages, 12 bytes each: u32 number, u16 blocks in use, u8 slices, u8 of them not resolved, u32 blocks in those; and
 *       behind each its slices
 *
 * In a volume that is encrypted, what follows the first 64 bytes is sealed as one part with these as what must not change, and
 * each slice as the part that its offset is.
 */
const MAGIC = Buffer.from('BGLOGMAP');
const VERSION = 4;
const FIXED = 64;
const SALT_AT = 48;
const SALT = 16;
const COUNTS = 32;
const PART = 44;
const SLICE = 12;
const PAGE = 12;
/** Of a page. */
export const MAX_SLICES = 255;

/** Bytes from which `checkpointPosition` finds out. */
export const CHECKPOINT_START = FIXED;

export interface Root {
  /** The last object of the log that is in it. */
  readonly at: LogPosition;
  /** Checkpoints that are, or were, needed for it. The first is this one. */
  readonly parts: readonly Part[];
  /** The table of objects: all of them, then what changed, in order. */
  readonly tables: readonly SliceRef[];
  readonly pages: readonly StoredPage[];
  /** Blocks in the objects of the table, and bytes as they are stored. */
  readonly blocks: number;
  readonly stored: number;
}

/** The slices of a checkpoint that is being made. */
export class NewSlices {
  readonly self: Part;
  readonly #key: VolumeKey | undefined;
  readonly #slices: Buffer[] = [];
  #bytes = 0;

  constructor(names: LogNames, epoch: number, number: number, key: VolumeKey | undefined) {
    const salt = key === undefined ? Buffer.alloc(SALT) : randomBytes(SALT);
    this.self = new Part(names, epoch, number, 0, 0, salt);
    this.#key = key;
  }

  add(slice: Buffer): SliceRef {
    const offset = this.#bytes;
    const stored = this.#key === undefined ? slice : this.self.cipher(this.#key).seal(offset, slice);
    this.#slices.push(stored);
    this.#bytes += stored.length;
    return { part: this.self, offset, length: stored.length };
  }

  /** The whole checkpoint, and how many bytes of it come before the slices. */
  finish(root: Omit<Root, 'parts'> & { readonly parts: Iterable<Part> }): {
    readonly body: Buffer;
    readonly rootBytes: number;
  } {
    const { self } = this;
    const parts = [self, ...[...root.parts].filter((part) => part !== self)];
    const places = new Places();
    for (const { names } of parts) places.numberOf(names);
    const names = places.encode();
    const slices = root.pages.reduce((sum, page) => sum + page.slices.length, 0);
    const plain = Buffer.alloc(
      COUNTS +
        names.length +
        parts.length * PART +
        root.pages.length * PAGE +
        (root.tables.length + slices) * SLICE,
    );
    self.bytes = this.#bytes;
    self.dataAt = FIXED + plain.length + (this.#key === undefined ? 0 : TAG_BYTES);
    encodeInto(plain, { ...root, parts }, places, names);
    const fixed = Buffer.alloc(FIXED);
    MAGIC.copy(fixed);
    fixed.writeUInt32LE(VERSION, 8);
    fixed.writeBigUInt64LE(BigInt(root.at.epoch), 16);
    fixed.writeBigUInt64LE(BigInt(root.at.seq), 24);
    fixed.writeUInt32LE(self.dataAt - FIXED, 32);
    self.salt.copy(fixed, SALT_AT);
    const body = this.#key === undefined ? plain : self.cipher(this.#key).seal(TABLES, plain, fixed);
    fixed.writeUInt32LE(crc32(body, crc32(fixed)), 12);
    return { body: Buffer.concat([fixed, body, ...this.#slices]), rootBytes: self.dataAt };
  }
}

function encodeInto(
  bytes: Buffer,
  { parts, tables, pages, blocks, stored }: Root,
  places: Places,
  names: Buffer,
): void {
  for (const [i, value] of [names.length, parts.length, tables.length, pages.length].entries())
    bytes.writeUInt32LE(value, 4 * i);
  bytes.writeBigUInt64LE(BigInt(blocks), 16);
  bytes.writeBigUInt64LE(BigInt(stored), 24);
  names.copy(bytes, COUNTS);
  let at = COUNTS + names.length;
  const numbers = new Map(parts.map((part, i) => [part, i]));
  for (const part of parts) {
    bytes.writeBigUInt64LE(BigInt(part.epoch), at);
    bytes.writeBigUInt64LE(BigInt(part.number), at + 8);
    bytes.writeUInt32LE(places.numberOf(part.names), at + 16);
    bytes.writeUInt32LE(part.dataAt, at + 20);
    bytes.writeUInt32LE(part.bytes, at + 24);
    part.salt.copy(bytes, at + 28);
    at += PART;
  }
  const slice = ({ part, offset, length }: SliceRef): void => {
    bytes.writeUInt32LE(numbers.get(part)!, at);
    bytes.writeUInt32LE(offset, at + 4);
    bytes.writeUInt32LE(length, at + 8);
    at += SLICE;
  };
  for (const table of tables) slice(table);
  for (const { number, used, slices, unresolved, unresolvedBlocks } of pages) {
    bytes.writeUInt32LE(number, at);
    bytes.writeUInt16LE(used, at + 4);
    bytes.writeUInt8(slices.length, at + 6);
    bytes.writeUInt8(unresolved, at + 7);
    bytes.writeUInt32LE(Math.min(unresolvedBlocks, 0xffffffff), at + 8);
    at += PAGE;
    for (const one of slices) slice(one);
  }
}

/** The last object that is in the checkpoint that begins like this; undefined where it is none. */
export function checkpointPosition(start: Buffer): LogPosition | undefined {
  if (start.length < FIXED || !start.subarray(0, 8).equals(MAGIC)) return undefined;
  return { epoch: Number(start.readBigUInt64LE(16)), seq: Number(start.readBigUInt64LE(24)) };
}

/** `bytes`: what comes before the slices. Returns what is wrong with it otherwise. */
export function decodeRoot(bytes: Buffer, { name, key }: Opening): Root | string {
  if (bytes.length < FIXED || !bytes.subarray(0, 8).equals(MAGIC)) return 'it is no checkpoint';
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION) return `it has version ${version}, and this blockgate knows ${VERSION}`;
  const fixed = Buffer.from(bytes.subarray(0, FIXED));
  fixed.writeUInt32LE(0, 12);
  const stored = bytes.subarray(FIXED);
  if (stored.length !== fixed.readUInt32LE(32) || crc32(stored, crc32(fixed)) !== bytes.readUInt32LE(12))
    return 'its checksum is wrong';
  const salt = fixed.subarray(SALT_AT, SALT_AT + SALT);
  const isEncrypted = !salt.equals(Buffer.alloc(SALT));
  if (isEncrypted !== (key !== undefined))
    return isEncrypted ? 'it is encrypted, and the volume is not' : 'it is not encrypted, and the volume is';
  let plain = stored;
  try {
    if (key !== undefined) plain = key.cipher(name, salt).open(TABLES, stored, fixed);
  } catch (error) {
    return `it cannot be opened: ${(error as Error).message}`;
  }
  try {
    return decodeTables(
      plain,
      { epoch: Number(fixed.readBigUInt64LE(16)), seq: Number(fixed.readBigUInt64LE(24)) },
      name,
    );
  } catch (error) {
    return `its tables make no sense: ${(error as Error).message}`;
  }
}

function decodeTables(bytes: Buffer, at: LogPosition, name: string): Root | string {
  const [nameBytes, partCount, tableCount, pageCount] = [0, 4, 8, 12].map((i) => bytes.readUInt32LE(i)) as [
    number,
    number,
    number,
    number,
  ];
  let next = COUNTS + nameBytes;
  const places = Places.decode(bytes.subarray(COUNTS, next));
  const parts = Array.from({ length: partCount }, () => {
    const salt = Buffer.from(bytes.subarray(next + 28, next + PART));
    const [epoch, number] = [next, next + 8].map((i) => Number(bytes.readBigUInt64LE(i))) as [number, number];
    const names = places[bytes.readUInt32LE(next + 16)];
    if (names === undefined) throw new Error('a part lies nowhere');
    const [dataAt, size] = [bytes.readUInt32LE(next + 20), bytes.readUInt32LE(next + 24)];
    const part = new Part(names, epoch, number, dataAt, size, salt);
    next += PART;
    return part;
  });
  if (parts[0]?.key !== name) return 'it is another checkpoint, under this name';
  const slice = (): SliceRef => {
    const part = parts[bytes.readUInt32LE(next)];
    if (part === undefined) throw new Error('a slice is in no part');
    const ref = { part, offset: bytes.readUInt32LE(next + 4), length: bytes.readUInt32LE(next + 8) };
    next += SLICE;
    return ref;
  };
  const tables = Array.from({ length: tableCount }, slice);
  const pages = Array.from({ length: pageCount }, () => {
    const [number, used, slices, unresolved, unresolvedBlocks] = [
      bytes.readUInt32LE(next),
      bytes.readUInt16LE(next + 4),
      bytes.readUInt8(next + 6),
      bytes.readUInt8(next + 7),
      bytes.readUInt32LE(next + 8),
    ];
    next += PAGE;
    if (unresolved > slices) throw new Error(`page ${number} has too few slices`);
    return { number, used, slices: Array.from({ length: slices }, slice), unresolved, unresolvedBlocks };
  });
  if (next !== bytes.length) return 'its tables do not fill it';
  const [blocks, stored] = [16, 24].map((i) => Number(bytes.readBigUInt64LE(i))) as [number, number];
  return { at, parts, tables, pages, blocks, stored };
}
