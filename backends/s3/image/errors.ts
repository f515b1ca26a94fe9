import { GatewayError } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';

/** How one gets a disk that begins as an image is, and can be written. */
const TO_WRITE =
  'For a disk that can be written, make a volume that begins as the image: give it a "prefix", and the key as "image", and run blockgate volume create <disk>.';
/** How one gets a disk of what is in another format. */
const TO_CONVERT = 'Or copy it into a volume: blockgate volume import <disk> <image file>.';

type Place = Pick<S3Config, 'prefix' | 'bucket'>;

export function notReadOnly(disk: string, { prefix, bucket }: S3Config): GatewayError {
  return new GatewayError(
    'image.read-only',
    `The disk "${disk}" is an image, and its configuration lets it be written.`,
    {
      why: `The object "${prefix}" in bucket "${bucket}" is never changed.`,
      fix: `Set "readOnly": true for the disk. ${TO_WRITE}`,
    },
  );
}

export function imageNotFound({ prefix, bucket }: Place, named: 'key' | 'image'): GatewayError {
  return new GatewayError('image.not-found', `There is no object "${prefix}" in bucket "${bucket}".`, {
    fix: `Correct "${named}", or upload the image.`,
  });
}

export function imageBadSize({ prefix }: Pick<Place, 'prefix'>, size: number): GatewayError {
  return new GatewayError('image.bad-size', `The image "${prefix}" has ${size} bytes.`, {
    why: 'A disk has a multiple of 512 bytes: the upload is not complete, or the object is no raw disk.',
    fix: 'Upload the image again; "truncate --size=%512 <file>" fills up a raw file that is meant to be so short.',
  });
}

export function imageNotRaw({ prefix }: Pick<Place, 'prefix'>, format: string): GatewayError {
  return new GatewayError('image.not-raw', `The image "${prefix}" is no raw disk, but ${format}.`, {
    why: 'It would be shown to the guest as it is stored.',
    fix: `Upload it as a raw disk ("qemu-img convert -O raw" makes one). ${TO_CONVERT} If it is a raw disk that only begins like that: "format": "raw".`,
  });
}

/** Of what there is for volumes only. `what`: as in "An image cannot …". */
export function unsupported({ prefix }: S3Config, what: string, fix: string): GatewayError {
  return new GatewayError('volume.unsupported', `The image "${prefix}" cannot be ${what}.`, {
    why: 'It is an object of somebody else’s, which blockgate reads and never changes.',
    fix,
  });
}
