import { corrupt } from '../corrupt.ts';
import type { ObjectTable } from '../log-object.ts';
import type { MapPage } from './map-page.ts';
import { PageBlocks } from './page-blocks.ts';
import { decodePageSlice } from './page-slice.ts';
import type { SliceObject } from './slice-object.ts';
import type { SliceReader } from './slice-reader.ts';

/** In place of an object that is not in the table any more: something later must have replaced it. */
const GONE = 0xffffffff;

/** Reads a page from its slices, and calls `take` with it. Throws `volume.corrupt`. */
export async function loadPage(
  reader: SliceReader,
  table: ObjectTable,
  page: MapPage,
  take: (content: PageBlocks) => void,
): Promise<void> {
  const { slices, unresolved, number } = page;
  const decoded = await Promise.all(
    slices.map(async (ref) => {
      const slice = decodePageSlice(await reader.slice(ref), number);
      if (typeof slice === 'string') throw corrupt(ref.part.key, slice);
      return slice;
    }),
  );
  // From here on in one step.
  const content = new PageBlocks();
  for (const [i, slice] of decoded.entries()) {
    const ids = slice.objects.map((object) => idOf(table, object));
    const counting = i < slices.length - unresolved ? undefined : table;
    if (counting !== undefined && content.ids.includes(GONE)) break;
    slice.each((at, count, object, block, from, fromBlock) =>
      content.apply(
        at,
        count,
        object < 0 ? 0 : ids[object]!,
        block,
        from < 0 ? 0 : ids[from]!,
        fromBlock,
        counting,
      ),
    );
  }
  if (content.ids.includes(GONE))
    throw corrupt(slices[0]!.part.key, `page ${number} refers to an object that its table does not have`);
  take(content);
}

function idOf(table: ObjectTable, { names, place, blocks, stored }: SliceObject): number {
  const object = table.isComplete ? table.find(names, place) : table.learn(names, place, blocks, stored);
  return object?.id ?? GONE;
}
