import type { LogNames, LogPosition } from '../names.ts';
import type { Places } from './part.ts';

/** An object of the log, as slices name it. */
export interface SliceObject {
  readonly names: LogNames;
  readonly place: LogPosition;
  readonly blocks: number;
  /** Bytes of its data as it is stored. */
  readonly stored: number;
}

/** Bytes: u64 epoch, u64 sequence, u32 blocks, u32 stored bytes of its data, u32 place. */
export const SLICE_OBJECT = 28;

export function writeSliceObject(
  bytes: Buffer,
  at: number,
  { names, place, blocks, stored }: SliceObject,
  places: Places,
): void {
  bytes.writeBigUInt64LE(BigInt(place.epoch), at);
  bytes.writeBigUInt64LE(BigInt(place.seq), at + 8);
  bytes.writeUInt32LE(blocks, at + 16);
  bytes.writeUInt32LE(stored, at + 20);
  bytes.writeUInt32LE(places.numberOf(names), at + 24);
}

/** Undefined when it lies in none of the places. */
export function readSliceObject(
  bytes: Buffer,
  at: number,
  places: readonly LogNames[],
): SliceObject | undefined {
  const names = places[bytes.readUInt32LE(at + 24)];
  if (names === undefined) return undefined;
  return {
    names,
    place: { epoch: Number(bytes.readBigUInt64LE(at)), seq: Number(bytes.readBigUInt64LE(at + 8)) },
    blocks: bytes.readUInt32LE(at + 16),
    stored: bytes.readUInt32LE(at + 20),
  };
}
