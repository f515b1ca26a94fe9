import { crc32 } from 'node:zlib';
import type { LogObject, ObjectTable } from '../log-object.ts';
import { Changes } from './changes.ts';
import { PAGE_BLOCKS, type PageBlocks } from './page-blocks.ts';
import { Places } from './part.ts';
import { readSliceObject, SLICE_OBJECT, type SliceObject, writeSliceObject } from './slice-object.ts';

/**
 * A page of the map, or changes of one, as a checkpoint stores it. Numbers are little-endian.
 *
 *   0   u32 CRC-32 of the rest, u32 number of the page, u32 bytes of the names of the places, u32 objects, u32 changes
 *   20  names of the places where objects lie, as prefixes, each ended by a line feed
 *   …   objects, 28 bytes each: u64 epoch, u64 sequence, u32 blocks, u32 stored bytes of its data, u32 place
 *   …   changes, 20 bytes each: u16 first block in the page, u16 blocks less one, u32 object or NONE, u32 first block in the
 *       object; and where only those count that come from somewhere: u32 object or NONE, u32 first block there
 */
const FIXED = 20;
const CHANGE = 20;
const NONE = 0xffffffff;

export interface PageSlice {
  readonly objects: readonly SliceObject[];
  /** In their order. `object` and `from` are indexes of `objects`; -1: none. */
  each(
    take: (at: number, count: number, object: number, block: number, from: number, fromBlock: number) => void,
  ): void;
}

export function encodePage(number: number, content: PageBlocks, table: ObjectTable): Buffer {
  const changes = new Changes();
  content.runs((at, count, id, block) => changes.add(at, count, id, block));
  return encodeChanges(number, changes, table);
}

export function encodeChanges(number: number, changes: Changes, table: ObjectTable): Buffer {
  const objects = new Map<LogObject, number>();
  const indexOf = (id: number): number => {
    const object = id === 0 ? undefined : table.peek(id);
    if (object === undefined) return NONE;
    let index = objects.get(object);
    if (index === undefined) {
      index = objects.size;
      objects.set(object, index);
    }
    return index;
  };
  const body = Buffer.allocUnsafe(changes.length * CHANGE);
  let used = 0;
  changes.each((at, count, id, block, fromId, fromBlock) => {
    const [to, from] = [indexOf(id), indexOf(fromId)];
    if (id !== 0 && to === NONE)
      throw new Error(`page ${number} of the map comes from an object that is gone`);
    // What is gone has no blocks that could be moved.
    if (fromId !== 0 && from === NONE) return;
    body.writeUInt16LE(at, used);
    body.writeUInt16LE(count - 1, used + 2);
    body.writeUInt32LE(to, used + 4);
    body.writeUInt32LE(id === 0 ? 0 : block, used + 8);
    body.writeUInt32LE(from, used + 12);
    body.writeUInt32LE(fromBlock, used + 16);
    used += CHANGE;
  });
  const places = new Places();
  const listed = Buffer.allocUnsafe(objects.size * SLICE_OBJECT);
  for (const [object, i] of objects)
    writeSliceObject(listed, i * SLICE_OBJECT, { ...object, place: object.place! }, places);
  const names = places.encode();
  const fixed = Buffer.alloc(FIXED);
  for (const [i, value] of [number, names.length, objects.size, used / CHANGE].entries())
    fixed.writeUInt32LE(value, 4 + 4 * i);
  const all = Buffer.concat([fixed, names, listed, body.subarray(0, used)]);
  all.writeUInt32LE(crc32(all.subarray(4)), 0);
  return all;
}

/** Returns what is wrong with it otherwise. */
export function decodePageSlice(bytes: Buffer, number: number): PageSlice | string {
  if (bytes.length < FIXED || crc32(bytes.subarray(4)) !== bytes.readUInt32LE(0))
    return 'the checksum of a page is wrong';
  const [page, nameBytes, objectCount, count] = [4, 8, 12, 16].map((at) => bytes.readUInt32LE(at)) as [
    number,
    number,
    number,
    number,
  ];
  if (page !== number) return `page ${page} is where page ${number} should be`;
  const objectsAt = FIXED + nameBytes;
  const changesAt = objectsAt + objectCount * SLICE_OBJECT;
  if (changesAt + count * CHANGE !== bytes.length) return 'the tables of a page do not fill it';
  const places = Places.decode(bytes.subarray(FIXED, objectsAt));
  const found = Array.from({ length: objectCount }, (_, i) =>
    readSliceObject(bytes, objectsAt + i * SLICE_OBJECT, places),
  );
  const objects = found.filter((object) => object !== undefined);
  if (objects.length < found.length) return 'an object of a page lies nowhere';
  const slice: PageSlice = {
    objects,
    each(take) {
      for (let at = changesAt; at < bytes.length; at += CHANGE)
        take(
          bytes.readUInt16LE(at),
          bytes.readUInt16LE(at + 2) + 1,
          indexAt(bytes, at + 4),
          bytes.readUInt32LE(at + 8),
          indexAt(bytes, at + 12),
          bytes.readUInt32LE(at + 16),
        );
    },
  };
  return problemOf(slice) ?? slice;
}

function indexAt(bytes: Buffer, at: number): number {
  const index = bytes.readUInt32LE(at);
  return index === NONE ? -1 : index;
}

function problemOf({ objects, each }: PageSlice): string | undefined {
  let problem: string | undefined;
  each((at, count, object, block, from) => {
    if (at + count > PAGE_BLOCKS) problem = 'an extent of a page goes beyond its end';
    else if (object >= objects.length || from >= objects.length) problem = 'an extent comes from no object';
    else if (object >= 0 && block + count > objects[object]!.blocks) {
      const { names, place } = objects[object]!;
      problem = `an extent comes from beyond the end of ${names.object(place)}`;
    }
  });
  return problem;
}
