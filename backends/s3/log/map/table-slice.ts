import { crc32 } from 'node:zlib';
import type { LogNames, LogPosition } from '../names.ts';
import { Places } from './part.ts';

/**
 * Objects that the map needs, or what has changed of them, as a checkpoint stores it. Numbers are little-endian.
 *
 *   0   u32 CRC-32 of the rest, u32 bytes of the names of the places, u32 objects
 *   12  names of the places where objects lie, as prefixes, each ended by a line feed
 *   …   objects, 36 bytes each: u64 epoch, u64 sequence, u32 blocks, u32 stored bytes of its data, u32 place, i32 blocks of
 *       the disk more that come from it, u32 1: it is not needed any more
 */
const FIXED = 12;
const OBJECT = 36;

export interface TableEntry {
  readonly names: LogNames;
  readonly place: LogPosition;
  readonly blocks: number;
  /** Bytes of its data as it is stored. */
  readonly stored: number;
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
  for (const [i, { names, place, blocks, stored, live, isGone }] of entries.entries()) {
    const at = i * OBJECT;
    listed.writeBigUInt64LE(BigInt(place.epoch), at);
    listed.writeBigUInt64LE(BigInt(place.seq), at + 8);
    listed.writeUInt32LE(blocks, at + 16);
    listed.writeUInt32LE(stored, at + 20);
    listed.writeUInt32LE(places.numberOf(names), at + 24);
    listed.writeInt32LE(live, at + 28);
    listed.writeUInt32LE(isGone ? 1 : 0, at + 32);
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
  const entries = Array.from({ length: count }, (_, i) => {
    const at = objectsAt + i * OBJECT;
    return {
      names: places[bytes.readUInt32LE(at + 24)]!,
      place: { epoch: Number(bytes.readBigUInt64LE(at)), seq: Number(bytes.readBigUInt64LE(at + 8)) },
      blocks: bytes.readUInt32LE(at + 16),
      stored: bytes.readUInt32LE(at + 20),
      live: bytes.readInt32LE(at + 28),
      isGone: bytes.readUInt32LE(at + 32) === 1,
    };
  });
  return entries.some(({ names }) => names === undefined) ? 'an object of it lies nowhere' : entries;
}
