import { GatewayError } from '../../core/plugin.ts';
import type { S3Config } from './config.ts';

/** What is said of volumes of either layout. */

type Place = Pick<S3Config, 'bucket' | 'prefix'>;

export function volumeNotFound({ prefix, bucket }: Place): GatewayError {
  return new GatewayError('volume.not-found', `There is no volume at "${prefix}" in bucket "${bucket}".`, {
    why: `The object ${prefix}/volume.json does not exist.`,
    fix: 'Create it: blockgate volume create <disk>',
  });
}

export function volumeExists({ prefix, bucket }: Place): GatewayError {
  return new GatewayError(
    'volume.exists',
    `There is a volume at "${prefix}" in bucket "${bucket}" already.`,
    {
      fix: 'Use it as it is, choose another "prefix", or delete it: blockgate volume delete <disk>',
    },
  );
}

export function sizeMissing(): GatewayError {
  return new GatewayError('volume.size-missing', 'A volume cannot be created without a size.', {
    fix: 'Set "size" in the configuration of the backend, such as "10GiB".',
  });
}

/** Throws `volume.size-mismatch` when the configuration says another size. Bytes. */
export function checkSize({ prefix, size: wanted }: Pick<S3Config, 'prefix' | 'size'>, size: number): void {
  if (wanted === undefined || wanted === size) return;
  throw new GatewayError(
    'volume.size-mismatch',
    `The volume at "${prefix}" has ${size} bytes, the configuration says ${wanted}.`,
    {
      fix:
        wanted > size
          ? `Grow the volume (blockgate volume resize <disk> ${wanted}), or set "size" to ${size}.`
          : `Set "size" to ${size}, or leave it out; a volume does not shrink.`,
    },
  );
}

/** Throws unless a volume of `size` bytes can be made that large, in steps of `unit`. */
export function checkNewSize(
  { prefix }: Pick<S3Config, 'prefix'>,
  size: number,
  wanted: number,
  unit: number,
): void {
  if (wanted % unit !== 0 || wanted > 2 ** 53 - unit) {
    throw new GatewayError('volume.bad-size', `A volume cannot have ${wanted} bytes.`, {
      fix: `Give a multiple of ${unit}.`,
    });
  }
  if (wanted < size) {
    throw new GatewayError(
      'volume.cannot-shrink',
      `The volume at "${prefix}" has ${size} bytes and does not shrink to ${wanted}.`,
      { fix: 'Create a smaller volume and copy what you need.' },
    );
  }
}

/** Throws when a read-only disk is to be made larger than it is by now. */
export function checkReadOnlyGrowth(
  { prefix }: Pick<S3Config, 'prefix'>,
  size: number,
  wanted: number | undefined,
): void {
  if (wanted === undefined || wanted === size) return;
  throw new GatewayError('volume.unsupported', `The volume at "${prefix}" is open read-only.`, {
    why: 'The disk is configured read-only.',
    fix: 'Let the gateway that owns the volume grow it, then let this disk see it: "blockgate resize" without a size.',
  });
}

/** `otherwise`: what one can do without them. `refusal`: how the store says that it does not know them. */
export function noConditionalWrites(otherwise: string, refusal?: Error): GatewayError {
  return new GatewayError('s3.no-conditional-writes', 'The S3 store does not honour conditional writes.', {
    why:
      refusal === undefined
        ? 'It stored an object although If-None-Match or If-Match forbade it, or refused a condition that holds.'
        : `It refuses a write with If-Match: ${refusal.message}.`,
    fix: `Use a store that does (AWS, Ceph 20, MinIO since 2024), or ${otherwise}.`,
  });
}
