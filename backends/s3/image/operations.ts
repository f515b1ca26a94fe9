import type { VolumeInfo } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import type { Operation } from '../operation.ts';
import { pricePerMonth } from '../store/prices.ts';
import { unsupported } from './errors.ts';
import { findImage, type Image } from './find-image.ts';

/** What of the volume operations there is for an image: to look at it. */

export async function volumeInfo({ store, config }: Operation): Promise<VolumeInfo> {
  return describe(await findImage(store, config), config);
}

export async function createVolume({ config }: Operation): Promise<never> {
  throw unsupported(config, 'created', 'Upload it with a tool for S3, such as "aws s3 cp".');
}

export async function resizeVolume({ config }: Operation): Promise<never> {
  throw unsupported(config, 'resized', 'Upload a larger one, or import it into a volume and resize that.');
}

export async function deleteVolume({ config }: Operation): Promise<never> {
  throw unsupported(
    config,
    'deleted',
    'Delete the object with a tool for S3, such as "aws s3 rm", once nothing needs it.',
  );
}

/** Throws `volume.unsupported` where the configuration names an image. `what`: as in "An image cannot be …". */
export function refuseImage(config: S3Config, what: string): void {
  if (config.layout === 'image')
    throw unsupported(config, what, 'Name a volume: a "prefix", without the layout "image".');
}

function describe({ key, size, etag }: Image, config: S3Config): VolumeInfo {
  return {
    name: key,
    size,
    used: size,
    details: {
      bucket: config.bucket,
      layout: 'image',
      etag,
      'storage, $ per month': pricePerMonth(size, config),
      access: 'read-only',
    },
  };
}
