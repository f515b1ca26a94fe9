import { crc32 } from 'node:zlib';
import { Places } from './part.ts';
import { readSliceObject, SLICE_OBJECT, type SliceObject, writeSliceObject } from './slice-object.ts';

/**
 * Objects that the map needs, or what has changed of them, as a checkpoint stores it. Numbers are little-endian.
 *
 *   0   u32 CRC-32 of the rest, u32 bytes of the names of the places, u32 objects
 *   12  names of the places where objects lie, as prefixes, each ended by a line feed
 *   …   objects, 36 bytes each: u64 epoch, u64 sequence, u32 blocks, u32 stored bytes of its data, u32 place, i32 blocks of
 *       the disk more that come from it, u32 1: it is not needed any more
 */
const FIXED = 12;
const OBJECT = SLICE_OBJECT + 8;

export interface TableEntry extends SliceObject {
  /** Blocks of the disk that come from it: so many more than the slices before say. */
  readonly live: number;
  /** It is not needed any more. */
  readonly isGone: boolean;
}

/** Bytes of a slice of so many entries. */
export const tableBytes = (entries: number): number => FIXED + entries * OBJECT;

export function encodeTable(entries: readonly TableEntry[]): Buffer {
  const places = new Places();
  const listed = Buffer.allocUnsafe(entries.length * OBJECT);
  for (const [i, entry] of entries.entries()) {
    const at = i * OBJECT;
    writeSliceObject(listed, at, entry, places);
    listed.writeInt32LE(entry.live, at + SLICE_OBJECT);
    listed.writeUInt32LE(entry.isGone ? 1 : 0, at + SLICE_OBJECT + 4);
  }
  const names = places.encode();
  const fixed = Buffer.alloc(FIXED);
  fixed.writeUInt32LE(names.length, 4);
  fixed.writeUInt32LE(entries.length, 8);
  const all = Buffer.concat([fixed, names, listed]);
  all.writeUInt32LE(crc32(all.subarray(4)), 0);
  return all;
}

/** Returns what is wrong with it otherwise. */
export function decodeTable(bytes: Buffer): TableEntry[] | string {
  if (bytes.length < FIXED || crc32(bytes.subarray(4)) !== bytes.readUInt32LE(0))
    return 'the checksum of its table of objects is wrong';
  const objectsAt = FIXED + bytes.readUInt32LE(4);
  const count = bytes.readUInt32LE(8);
  if (objectsAt + count * OBJECT !== bytes.length) return 'its table of objects has another length';
  const places = Places.decode(bytes.subarray(FIXED, objectsAt));
  const entries: TableEntry[] = [];
  for (let at = objectsAt; at < bytes.length; at += OBJECT) {
    const object = readSliceObject(bytes, at, places);
    if (object === undefined) return 'an object of it lies nowhere';
    const [live, isGone] = [
      bytes.readInt32LE(at + SLICE_OBJECT),
      bytes.readUInt32LE(at + SLICE_OBJECT + 4) === 1,
    ];
    entries.push({ ...object, live, isGone });
  }
  return entries;
}
