import type { LogObject } from '../log-object.ts';
import { LogNames } from '../names.ts';
import { BLOCK, FRAME_BLOCKS } from '../object-header.ts';

/**
 * The image that a volume begins as, for its map: objects of the log that lie nowhere, each a piece of the image. They are raw,
 * and have no header. Where the image really is, `volume.json` says.
 */

/** No prefix of a volume begins with a slash. */
const PLACE = new LogNames('/image');
/** Blocks of a piece: 256 MiB, as many as there can be in one object. */
export const PIECE_BLOCKS = 65_536;

/** A piece of an image. */
export interface Piece {
  readonly names: LogNames;
  readonly place: LogObject['place'] & object;
  readonly blocks: number;
  /** Bytes. */
  readonly stored: number;
}

/** All pieces of an image of `size` bytes; what is behind its end in its last block is zeros. */
export function piecesOf(size: number): Piece[] {
  const all = Math.ceil(size / BLOCK);
  return Array.from({ length: Math.ceil(all / PIECE_BLOCKS) }, (_, i) => {
    const blocks = Math.min(PIECE_BLOCKS, all - i * PIECE_BLOCKS);
    return { names: PLACE, place: { epoch: 0, seq: i + 1 }, blocks, stored: blocks * BLOCK };
  });
}

export const isPiece = ({ names }: Pick<LogObject, 'names'>): boolean => names.root === PLACE.root;

/** Which block of the image, and so of the disk, the first of a piece is. */
export const firstBlockOf = ({ seq }: Piece['place']): number => (seq - 1) * PIECE_BLOCKS;

/** Which frame of the image the first of a piece is. */
export const firstFrameOf = (place: Piece['place']): number => firstBlockOf(place) / FRAME_BLOCKS;
