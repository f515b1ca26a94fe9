import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import type { PageTable } from './page-table.ts';

/** What a cache file holds, written when it is closed. It is gone while the cache is in use: after a crash there is none. */
interface CacheIndex {
  readonly version: 1;
  /** Of the disk, and of a page. */
  readonly size: number;
  readonly pageSize: number;
  /** Page number, slot and checksum of each, least recently used first. */
  readonly pages: readonly (readonly [number: number, slot: number, checksum: number])[];
}

/** Takes up what an earlier process left, if it is of this disk, and removes the index. */
export async function takeUpIndex(
  path: string,
  table: PageTable,
  checksums: Uint32Array,
  { size, pageSize }: { readonly size: number; readonly pageSize: number },
): Promise<void> {
  const index = await readIndex(path);
  await rm(path, { force: true });
  if (index?.version === 1 && index.size === size && index.pageSize === pageSize) {
    for (const [number, slot, checksum] of index.pages) {
      if (slot >= table.capacity) continue;
      table.restore(number, slot);
      checksums[slot] = checksum;
    }
  }
  table.restored();
}

export async function leaveIndex(
  path: string,
  table: PageTable,
  checksums: Uint32Array,
  { size, pageSize }: { readonly size: number; readonly pageSize: number },
): Promise<void> {
  const pages = [...table.entries].map(([number, { slot }]) => [number, slot, checksums[slot]!] as const);
  const index: CacheIndex = { version: 1, size, pageSize, pages };
  await writeFile(`${path}.new`, JSON.stringify(index));
  await rename(`${path}.new`, path);
}

async function readIndex(path: string): Promise<CacheIndex | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as CacheIndex;
  } catch {
    // None, or one that is of no use: the cache begins empty.
    return undefined;
  }
}
