import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { TABLES, type VolumeKey } from '../encryption/volume-key.ts';
import type { ObjectTable } from '../log-object.ts';
import { LogNames, type LogPosition } from '../names.ts';
import { BLOCK, type Opening } from '../object-header.ts';
import type { BlockMap } from './block-map.ts';

/**
 * The map of all blocks, as an object. Numbers are little-endian.
 *
 *   0   magic "BGLOGMAP"
 *   8   u32 version, u32 CRC-32 of all with this field as 0
 *   16  u64 epoch, u64 sequence of the last object that is in it
 *   32  u32 places, u32 objects, u32 extents, u32 bytes of the names of the places
 *   48  names of the places where objects lie, as prefixes, each ended by a line feed
 *   …   objects, 24 bytes each: u64 epoch, u64 sequence, u32 blocks, u32 place; in version 2 also u32 stored bytes of its
 *       data, u32 0. In version 1 the data of all of them is stored as it is
 *   …   extents, 20 bytes each: u64 first block of the disk, u32 blocks, u32 object, u32 first block in the object
 *
 * Version 3, of a volume that is encrypted, is as version 2, but 16 random bytes come after the first 48, and what follows is
 * sealed, with the first 48 bytes as what must not change. The CRC is of what is stored.
 */
const MAGIC = Buffer.from('BGLOGMAP');
/** The newest that is known. */
const VERSION = 3;
const ENCRYPTED = 3;
const FIXED = 48;
/** Random bytes in front of what is sealed. */
const SALT = 16;
const OBJECT = 24;
const OBJECT_2 = 32;
const EXTENT = 20;

export interface CheckpointObject {
  readonly names: LogNames;
  readonly place: LogPosition;
  readonly blocks: number;
  /** Bytes of its data as it is stored. */
  readonly stored: number;
}

export interface Checkpoint {
  readonly at: LogPosition;
  readonly objects: readonly CheckpointObject[];
  /** Calls for every run of blocks; `object` is an index of `objects`. */
  eachExtent(take: (lba: number, blocks: number, object: number, block: number) => void): void;
}

/** Objects that no block comes from are left out. */
export function encodeCheckpoint(
  map: BlockMap,
  table: ObjectTable,
  at: LogPosition,
  { name, key }: Opening,
): Buffer {
  const objects = [...table.values()].filter(({ live, place }) => live > 0 && place !== undefined);
  const index = new Map(objects.map(({ id }, i) => [id, i]));
  const roots = [...new Set(objects.map(({ names }) => names.root))];
  const rootBytes = Buffer.from(roots.map((root) => `${root}\n`).join(''));
  let extents = Buffer.allocUnsafe(64 * 1024);
  let used = 0;
  for (const { lba, id, block, count } of map.runs()) {
    if (used + EXTENT > extents.length)
      extents = Buffer.concat([extents, Buffer.allocUnsafe(extents.length)]);
    extents.writeBigUInt64LE(BigInt(lba), used);
    extents.writeUInt32LE(count, used + 8);
    extents.writeUInt32LE(index.get(id)!, used + 12);
    extents.writeUInt32LE(block, used + 16);
    used += EXTENT;
  }
  const isCompressed = objects.some(({ blocks, stored }) => stored !== blocks * BLOCK);
  const version = key !== undefined ? ENCRYPTED : isCompressed ? 2 : 1;
  const objectBytes = version === 1 ? OBJECT : OBJECT_2;
  const start = Buffer.alloc(FIXED + rootBytes.length + objects.length * objectBytes);
  MAGIC.copy(start);
  start.writeUInt32LE(version, 8);
  start.writeBigUInt64LE(BigInt(at.epoch), 16);
  start.writeBigUInt64LE(BigInt(at.seq), 24);
  start.writeUInt32LE(roots.length, 32);
  start.writeUInt32LE(objects.length, 36);
  start.writeUInt32LE(used / EXTENT, 40);
  start.writeUInt32LE(rootBytes.length, 44);
  rootBytes.copy(start, FIXED);
  let position = FIXED + rootBytes.length;
  for (const { place, blocks, stored, names } of objects) {
    start.writeBigUInt64LE(BigInt(place!.epoch), position);
    start.writeBigUInt64LE(BigInt(place!.seq), position + 8);
    start.writeUInt32LE(blocks, position + 16);
    start.writeUInt32LE(roots.indexOf(names.root), position + 20);
    if (version > 1) start.writeUInt32LE(stored, position + 24);
    position += objectBytes;
  }
  const tables = [start.subarray(FIXED), extents.subarray(0, used)];
  const fixed = start.subarray(0, FIXED);
  const all = Buffer.concat([fixed, ...(key === undefined ? tables : seal(tables, fixed, name, key))]);
  all.writeUInt32LE(crc32(all), 12);
  return all;
}

function seal(tables: readonly Buffer[], fixed: Buffer, name: string, key: VolumeKey): Buffer[] {
  const salt = randomBytes(SALT);
  return [salt, key.cipher(name, salt).seal(TABLES, Buffer.concat(tables), fixed)];
}

/** Bytes from which `checkpointPosition` finds out. */
export const CHECKPOINT_START = FIXED;

/** The last object that is in the checkpoint that begins like this; undefined where it is none. */
export function checkpointPosition(start: Buffer): LogPosition | undefined {
  if (start.length < FIXED || !start.subarray(0, 8).equals(MAGIC)) return undefined;
  return { epoch: Number(start.readBigUInt64LE(16)), seq: Number(start.readBigUInt64LE(24)) };
}

/** Returns what is wrong with it otherwise. */
export function decodeCheckpoint(body: Uint8Array, { name, key }: Opening): Checkpoint | string {
  let bytes = Buffer.from(body);
  if (bytes.length < FIXED || !bytes.subarray(0, 8).equals(MAGIC)) return 'it is no checkpoint';
  const version = bytes.readUInt32LE(8);
  if (version < 1 || version > VERSION)
    return `it has version ${version}, and this blockgate knows 1 to ${VERSION}`;
  const crc = bytes.readUInt32LE(12);
  bytes.writeUInt32LE(0, 12);
  if (crc32(bytes) !== crc) return 'its checksum is wrong';
  if (version === ENCRYPTED && key === undefined) return 'it is encrypted, and the volume is not';
  if (version !== ENCRYPTED && key !== undefined) return 'it is not encrypted, and the volume is';
  if (key !== undefined) {
    const [fixed, salt, sealed] = [
      bytes.subarray(0, FIXED),
      bytes.subarray(FIXED, FIXED + SALT),
      bytes.subarray(FIXED + SALT),
    ];
    try {
      bytes = Buffer.concat([fixed, key.cipher(name, salt).open(TABLES, sealed, fixed)]);
    } catch (error) {
      return `it cannot be opened: ${(error as Error).message}`;
    }
  }
  const [rootCount, objectCount, extentCount, rootBytes] = [32, 36, 40, 44].map((at) =>
    bytes.readUInt32LE(at),
  ) as [number, number, number, number];
  const objectsAt = FIXED + rootBytes;
  const objectBytes = version === 1 ? OBJECT : OBJECT_2;
  const extentsAt = objectsAt + objectCount * objectBytes;
  if (extentsAt + extentCount * EXTENT !== bytes.length) return 'its tables do not fill it';
  const roots = bytes.toString('utf8', FIXED, objectsAt).split('\n').slice(0, rootCount);
  const names = roots.map((root) => new LogNames(root.slice(0, -1)));
  const objects = Array.from({ length: objectCount }, (_, i) => {
    const at = objectsAt + i * objectBytes;
    const blocks = bytes.readUInt32LE(at + 16);
    return {
      names: names[bytes.readUInt32LE(at + 20)],
      place: { epoch: Number(bytes.readBigUInt64LE(at)), seq: Number(bytes.readBigUInt64LE(at + 8)) },
      blocks,
      stored: version === 1 ? blocks * BLOCK : bytes.readUInt32LE(at + 24),
    };
  });
  if (!objects.every(isPlaced)) return 'an object of it lies nowhere';
  return {
    at: { epoch: Number(bytes.readBigUInt64LE(16)), seq: Number(bytes.readBigUInt64LE(24)) },
    objects,
    eachExtent(take) {
      for (let at = extentsAt; at < bytes.length; at += EXTENT)
        take(
          Number(bytes.readBigUInt64LE(at)),
          bytes.readUInt32LE(at + 8),
          bytes.readUInt32LE(at + 12),
          bytes.readUInt32LE(at + 16),
        );
    },
  };
}

const isPlaced = (object: { readonly names: LogNames | undefined }): object is CheckpointObject =>
  object.names !== undefined;
