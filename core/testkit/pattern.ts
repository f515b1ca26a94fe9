import type { DiskVolume } from '../block/volume.ts';

/** Content that says where it belongs and when it was written, sector by sector. */

const SECTOR = 512;

/** `length` bytes for `offset`, of version `round`. */
export function pattern(offset: number, length: number, round: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const words = new DataView(bytes.buffer);
  for (let at = 0; at < length; at += SECTOR) {
    const sector = (offset + at) / SECTOR;
    for (let word = 0; word < SECTOR; word += 8) {
      words.setUint32(at + word, round);
      words.setUint32(at + word + 4, sector ^ word);
    }
  }
  return bytes;
}

/** The version of each sector. Throws where a sector is not one that `pattern` made for this place. */
export function roundsOf(bytes: Uint8Array, offset: number): number[] {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const rounds: number[] = [];
  for (let at = 0; at < bytes.length; at += SECTOR) {
    const round = words.getUint32(at);
    const expected = pattern(offset + at, SECTOR, round);
    const found = bytes.subarray(at, at + SECTOR);
    if (!isSame(found, expected))
      throw new Error(`the sector at ${offset + at} has content that was never written there`);
    rounds.push(round);
  }
  return rounds;
}

const isSame = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0;

export async function readAt(volume: DiskVolume, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await volume.read(offset, [bytes], 0);
  return bytes;
}

/** The first difference, told in a way that fits on a line. */
export function expectBytes(found: Uint8Array, expected: Uint8Array, what: string): void {
  if (isSame(found, expected)) return;
  const at = found.findIndex((byte, index) => byte !== expected[index]);
  if (at >= 0)
    throw new Error(
      `${what}: byte ${at} is 0x${found[at]!.toString(16)} instead of 0x${expected[at]!.toString(16)}`,
    );
  throw new Error(`${what}: ${found.length} bytes instead of ${expected.length}`);
}
