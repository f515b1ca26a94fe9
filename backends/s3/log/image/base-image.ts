import { GatewayError, type Logger } from '../../../../core/plugin.ts';
import type { BucketCache } from '../../cache/open-disk-cache.ts';
import type { S3Config } from '../../config.ts';
import type { Image } from '../../image/find-image.ts';
import { ImageFrames } from '../../image/frames.ts';
import { PinnedObject } from '../../image/pinned-object.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { Head } from '../head.ts';
import type { LogObject } from '../log-object.ts';
import { BLOCK, FRAME } from '../object-header.ts';
import type { LogRecord } from '../volume/volume-record.ts';
import { firstFrameOf } from './pieces.ts';

/** Reads the image that a volume begins as. */
export class BaseImage {
  readonly #object: PinnedObject;
  readonly #frames: ImageFrames;

  constructor(store: ObjectStore, image: Image, logger: Logger, disk?: BucketCache) {
    this.#object = new PinnedObject(store, image, logger);
    // What is in memory, the volume keeps with its own frames.
    this.#frames = new ImageFrames(this.#object, 0, disk);
  }

  /**
   * Frames `first` … `first` + `count` - 1 of a piece, in whole blocks. `isKept`: in the cache on disk as well. Rejects with a
   * `BlockError`.
   */
  async read(piece: LogObject, first: number, count: number, isKept: boolean): Promise<Buffer[]> {
    const frames = await this.#frames.readAside(firstFrameOf(piece.place!) + first, count, isKept);
    return frames.map((frame, i) =>
      padded(frame, Math.min(FRAME, piece.blocks * BLOCK - (first + i) * FRAME)),
    );
  }

  /** For `blockgate status`. */
  status(): Record<string, string> {
    const { image, problem } = this.#object;
    return { image: problem === undefined ? `${image.key}, ETag ${image.etag}` : `${image.key} ${problem}` };
  }
}

/** What comes behind the end of an image is zeros. */
function padded(frame: Buffer, bytes: number): Buffer {
  if (frame.length >= bytes) return frame;
  return Buffer.concat([frame, Buffer.alloc(bytes - frame.length)]);
}

/** What the volume needs an image for; undefined where it needs none, or needs it no more. */
export const imageOf = (
  { image }: Pick<LogRecord, 'image'>,
  { isFlat }: Pick<Head, 'isFlat'>,
): Image | undefined => (isFlat === true ? undefined : image);

/**
 * Makes sure that the image is there as it was when the volume was created, and that it is the one which the configuration
 * names. Throws `volume.image-changed` or `volume.image-mismatch`.
 */
export async function checkImage(
  store: ObjectStore,
  record: Pick<LogRecord, 'image'>,
  head: Pick<Head, 'isFlat'>,
  config: Pick<S3Config, 'image' | 'prefix'>,
): Promise<Image | undefined> {
  if (config.image !== undefined && config.image !== record.image?.key) throw mismatch(config, record.image);
  const image = imageOf(record, head);
  const problem = image && (await problemOf(store, image));
  if (problem === undefined) return image;
  throw new GatewayError('volume.image-changed', `The image ${image!.key} ${problem}.`, {
    why: `The volume at "${config.prefix}" began as that object with the ETag ${image!.etag} and ${image!.size} bytes, and has from there what was not written since.`,
    fix: 'Put that object back, with the same content, uploaded in the same way.',
  });
}

/** What speaks against the object that is there now. */
export async function problemOf(store: ObjectStore, { key, etag, size }: Image): Promise<string | undefined> {
  const info = await store.head(key);
  if (info === undefined) return 'is missing from the bucket';
  if (info.etag === etag && info.size === size) return undefined;
  return `was replaced: it has the ETag ${info.etag} and ${info.size} bytes now`;
}

function mismatch(
  { image, prefix }: Pick<S3Config, 'image' | 'prefix'>,
  found: Image | undefined,
): GatewayError {
  const began = found === undefined ? 'as zeros' : `as the image "${found.key}"`;
  return new GatewayError(
    'volume.image-mismatch',
    `The volume at "${prefix}" began ${began}, the configuration says "${image}".`,
    {
      why: 'What a volume begins as is fixed when it is created.',
      fix: `${found === undefined ? 'Leave out "image"' : `Set "image" to "${found.key}", or leave it out`}; or create another volume, at another "prefix".`,
    },
  );
}
