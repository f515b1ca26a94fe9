import type { OpenContext } from '../../../core/plugin.ts';
import { openDiskCache } from '../cache/open-disk-cache.ts';
import type { S3Config } from '../config.ts';
import type { DiskSession, MakeDevice } from '../disk-session.ts';
import { ImageDevice } from './device.ts';
import { checkReadOnly, findImage } from './find-image.ts';
import { ImageFrames } from './frames.ts';
import { PinnedObject } from './pinned-object.ts';

/** Opens an object as a disk. */
export async function openImage(
  { starting, running, meter, undo }: DiskSession,
  config: S3Config,
  ctx: OpenContext,
): Promise<MakeDevice> {
  const { logger } = ctx;
  checkReadOnly(config, ctx);
  const image = await findImage(starting, config);
  const object = new PinnedObject(running, image, logger);
  const frames = new ImageFrames(object, config.readCache, await openDiskCache(config, ctx, undo));
  logger.info('the image is open', { ...image });
  return (close) => new ImageDevice({ object, frames, meter, close });
}
