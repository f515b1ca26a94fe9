import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { GatewayError } from '../api/errors.ts';

/** Certificates or a key, from a path that a configuration names. Throws a `GatewayError` with `code`. */
export async function readPemFile(path: string, baseDir: string, code: string): Promise<Buffer> {
  const file = resolve(baseDir, path);
  try {
    return await readFile(file);
  } catch (cause) {
    throw new GatewayError(code, `${file} cannot be read.`, {
      why: (cause as Error).message,
      fix: 'Correct the path in "tls"; relative ones start at the folder of plugins.json.',
      cause,
    });
  }
}
