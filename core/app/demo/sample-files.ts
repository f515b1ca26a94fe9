import { randomFillSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A few large files and many small ones, in folders. Sizes in bytes, none a multiple of a block. */
const LARGE = { files: 4, size: 4 * 1024 * 1024 + 1, perFolder: 1 };
const SMALL = { files: 200, size: 20 * 1024 + 7, perFolder: 50 };

export interface Samples {
  readonly files: number;
  readonly bytes: number;
}

/** Fills a new folder with files of random bytes, which no store can compress or guess. */
export async function makeSamples(folder: string): Promise<Samples> {
  for (const [kind, { files, size, perFolder }] of Object.entries({ large: LARGE, small: SMALL })) {
    for (let i = 0; i < files; i++) {
      await makeFile(join(folder, `${kind}-${Math.floor(i / perFolder)}`), `${i}.bin`, size);
    }
  }
  return { files: LARGE.files + SMALL.files, bytes: LARGE.files * LARGE.size + SMALL.files * SMALL.size };
}

async function makeFile(folder: string, name: string, size: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, name), randomFillSync(new Uint8Array(size)));
}
