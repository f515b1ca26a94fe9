import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

interface Manifest {
  readonly name?: string;
  readonly version?: string;
}

/** The folder of blockgate's package.json: from source it is nearer than from `dist`. */
export function packageFolder(): string {
  for (const up of ['../../../', '../../../../']) {
    const folder = fileURLToPath(new URL(up, import.meta.url));
    if (manifestIn(folder)?.name === 'blockgate') return folder;
  }
  throw new Error('the package.json of blockgate is missing');
}

export function packageVersion(): string {
  return manifestIn(packageFolder())!.version!;
}

function manifestIn(folder: string): Manifest | undefined {
  try {
    return JSON.parse(readFileSync(`${folder}package.json`, 'utf8')) as Manifest;
  } catch {
    return undefined;
  }
}
