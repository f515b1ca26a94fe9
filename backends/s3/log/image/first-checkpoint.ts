import type { VolumeKey } from '../encryption/volume-key.ts';
import type { CheckpointRef } from '../head.ts';
import { ObjectTable } from '../log-object.ts';
import { Changes } from '../map/changes.ts';
import type { StoredPage } from '../map/map-page.ts';
import { PAGE_BLOCKS } from '../map/page-blocks.ts';
import { encodeChanges } from '../map/page-slice.ts';
import { NewSlices } from '../map/root.ts';
import { encodeTable } from '../map/table-slice.ts';
import type { LogNames } from '../names.ts';
import { NOWHERE } from '../recovery.ts';
import { PIECE_BLOCKS, piecesOf } from './pieces.ts';

/** The checkpoint of a volume that is what an image of `size` bytes is: some 110 bytes for each 64 MiB of it. */
export function firstCheckpoint(
  names: LogNames,
  epoch: number,
  size: number,
  key: VolumeKey | undefined,
): { readonly ref: CheckpointRef; readonly body: Buffer } {
  const slices = new NewSlices(names, epoch, 0, key);
  const table = new ObjectTable();
  const pieces = piecesOf(size);
  const pages: StoredPage[] = [];
  for (const [i, piece] of pieces.entries()) {
    const { id } = table.addStored(piece.names, piece.place, piece.blocks, piece.stored);
    for (let block = 0; block < piece.blocks; block += PAGE_BLOCKS) {
      const number = (i * PIECE_BLOCKS + block) / PAGE_BLOCKS;
      const used = Math.min(PAGE_BLOCKS, piece.blocks - block);
      const page = new Changes();
      page.add(0, used, id, block);
      const slice = slices.add(encodeChanges(number, page, table));
      pages.push({ number, used, slices: [slice], unresolved: 0, unresolvedBlocks: 0 });
    }
  }
  const entries = pieces.map((piece) => ({ ...piece, live: piece.blocks, isGone: false }));
  const tables = [slices.add(encodeTable(entries))];
  const [blocks, stored] = [sum(pieces.map((one) => one.blocks)), sum(pieces.map((one) => one.stored))];
  const at = NOWHERE.place;
  const { body, rootBytes } = slices.finish({ at, parts: [slices.self], tables, pages, blocks, stored });
  return {
    ref: { key: slices.self.key, root: rootBytes, at, hash: NOWHERE.hash.toString('hex') },
    body,
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
