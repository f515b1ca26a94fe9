import { resolve } from 'node:path';
import type { OpenContext } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import { DiskCache } from './disk-cache.ts';

/** A cache on disk, for what is in one bucket. */
export interface BucketCache {
  readonly cache: DiskCache;
  /** Where the objects are, in words that no other bucket has: several share the cache. */
  readonly bucket: string;
}

/** Undefined where none is configured, or it does not work. */
export async function openDiskCache(
  { diskCache, endpoint, region, bucket }: S3Config,
  { baseDir, logger }: OpenContext,
  undo: AsyncDisposableStack,
): Promise<BucketCache | undefined> {
  if (diskCache === undefined) return undefined;
  const cache = await DiskCache.open(resolve(baseDir, diskCache.path), diskCache.size, logger);
  if (cache === undefined) return undefined;
  undo.use(cache);
  return { cache, bucket: `${endpoint ?? `aws ${region ?? ''}`}\n${bucket}` };
}
