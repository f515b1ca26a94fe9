import type { OpenContext } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { imageBadSize, imageNotFound, imageNotRaw, notReadOnly } from './errors.ts';
import { formatOf, MAGIC_BYTES } from './format.ts';

/** An object as it was at some moment. */
export interface Image {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Opaque, as the store gave it; that of an upload in parts too. */
  readonly etag: string;
}

/** Throws `image.read-only` for a disk that can be written. */
export function checkReadOnly(config: S3Config, { disk, readOnly }: OpenContext): void {
  if (!readOnly) throw notReadOnly(disk, config);
}

/** The image that the configuration names, in `named`. Throws `image.not-found`, `image.bad-size` or `image.not-raw`. */
export async function findImage(
  store: ObjectStore,
  config: Pick<S3Config, 'prefix' | 'bucket' | 'format'>,
  named: 'key' | 'image' = 'key',
): Promise<Image> {
  const { prefix: key, format } = config;
  const head = Buffer.alloc(MAGIC_BYTES);
  // One answer: what is said of the object is said of what it begins with.
  const info = await store.read(key, 0, [head]);
  if (info === undefined) throw imageNotFound(config, named);
  const { size, etag } = info;
  const found = format === 'raw' ? undefined : formatOf(head);
  if (found !== undefined) throw imageNotRaw(config, found);
  if (size === 0 || size % 512 !== 0 || size > Number.MAX_SAFE_INTEGER) throw imageBadSize(config, size);
  return { key, size, etag };
}
