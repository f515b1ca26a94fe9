import { randomFillSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Some large files and many small ones, in folders. Sizes in bytes, none a multiple of a block. */
const LARGE = { count: 3, size: 12 * 1024 * 1024 + 1 };
const SMALL = { count: 200, size: 20 * 1024 + 7, perFolder: 50 };

export interface Samples {
  readonly files: number;
  readonly bytes: number;
}

/** Fills a new folder with files of random bytes, which no store can compress or guess. */
export async function makeSamples(folder: string): Promise<Samples> {
  for (let i = 0; i < LARGE.count; i++) await makeFile(join(folder, 'large'), `${i}.bin`, LARGE.size);
  for (let i = 0; i < SMALL.count; i++) {
    const part = `small-${Math.floor(i / SMALL.perFolder)}`;
    await makeFile(join(folder, part), `${i}.bin`, SMALL.size);
  }
  return {
    files: LARGE.count + SMALL.count,
    bytes: LARGE.count * LARGE.size + SMALL.count * SMALL.size,
  };
}

async function makeFile(folder: string, name: string, size: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, name), randomFillSync(new Uint8Array(size)));
}
