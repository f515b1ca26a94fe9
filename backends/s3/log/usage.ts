import type { ObjectTable } from './log-object.ts';
import { BLOCK } from './object-header.ts';

/** Bytes of data in the objects of a volume that are stored, and as they are stored. */
export interface Usage {
  readonly data: number;
  readonly stored: number;
}

export function usageOf(table: ObjectTable): Usage {
  let [data, stored] = [0, 0];
  for (const object of table.values()) {
    if (object.place === undefined || object.data !== undefined) continue;
    data += object.blocks * BLOCK;
    stored += object.stored;
  }
  return { data, stored };
}

/** How many bytes of data one stored byte holds, in two digits. */
export const compressionRatio = ({ data, stored }: Usage): number =>
  stored === 0 ? 1 : Number((data / stored).toFixed(2));
