import { createHash } from 'node:crypto';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** Where kernels and initramfs images are kept between runs: `${XDG_CACHE_HOME:-~/.cache}/blockgate/vm`. */
export function vmCacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'blockgate', 'vm');
}

/** A short name for content: the same parts in the same order, and only those, give the same key. */
export function contentKey(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    hash.update(`${bytes.length}:`).update(bytes);
  }
  return hash.digest('hex').slice(0, 16);
}

/**
 * The file at `path`, made by `build` if it is not there yet. Written beside and renamed, so that neither an
 * interrupted run nor a second one at the same time leaves half a file under the final name.
 */
export async function cachedFile(path: string, build: () => Promise<Uint8Array>): Promise<string> {
  if (await exists(path)) return path;
  const content = await build();
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.${process.pid}.partial`;
  try {
    await writeFile(partial, content);
    await rename(partial, path);
  } finally {
    await rm(partial, { force: true });
  }
  return path;
}

export async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
