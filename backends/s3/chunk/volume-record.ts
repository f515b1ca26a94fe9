import { z } from 'zod';
import { GatewayError } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { checkSize, volumeNotFound } from '../volume-errors.ts';
import { parseVolumeFile, readVolumeFile, type VolumeFile } from '../volume-file.ts';
import { type Layout, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE } from './layout.ts';

export const VOLUME_FORMAT = 'blockgate-chunk';
export const VOLUME_VERSION = 1;

const volumeRecord = z.object({
  format: z.literal(VOLUME_FORMAT),
  version: z.literal(VOLUME_VERSION),
  uuid: z.uuid(),
  /** Bytes. */
  size: z.int().min(512).multipleOf(512),
  /** Bytes per chunk object; a power of two. */
  chunkSize: z
    .int()
    .min(MIN_CHUNK_SIZE)
    .max(MAX_CHUNK_SIZE)
    .refine((bytes) => Number.isInteger(Math.log2(bytes))),
  /** `creating`: the presence map is not complete yet. `deleting`: objects are being removed. */
  state: z.enum(['creating', 'ready', 'deleting']),
  createdAt: z.string(),
  /** Names of features without which the volume must not be opened. None are known to this version. */
  requiredFeatures: z.array(z.string()),
});

const SHAPE = { format: VOLUME_FORMAT, version: VOLUME_VERSION, schema: volumeRecord };

/** The content of volume.json. */
export type VolumeRecord = z.output<typeof volumeRecord>;

export interface StoredVolume {
  readonly record: VolumeRecord;
  readonly etag: string;
}

export function chunkCount({ size, chunkSize }: Pick<VolumeRecord, 'size' | 'chunkSize'>): number {
  return Math.ceil(size / chunkSize);
}

/** Undefined when there is no volume. */
export async function readVolume(store: ObjectStore, layout: Layout): Promise<StoredVolume | undefined> {
  const file = await readVolumeFile(store, layout.prefix);
  return file && parse(file);
}

function parse(file: VolumeFile): StoredVolume {
  return { record: parseVolumeFile(file, SHAPE), etag: file.etag };
}

/** Writes volume.json if it is absent or still has this ETag. Returns the new ETag. */
export function writeVolume(
  store: ObjectStore,
  layout: Layout,
  record: VolumeRecord,
  previous: string | undefined,
): Promise<string> {
  return store.put(layout.volume, Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`), {
    condition: previous === undefined ? 'absent' : { etag: previous },
  });
}

/** The volume, if it is complete, in a format we know, and what the configuration says it is. `file`: if it is read already. */
export async function readReadyVolume(
  store: ObjectStore,
  layout: Layout,
  config: Pick<S3Config, 'bucket' | 'prefix' | 'size' | 'chunkSize'>,
  file?: VolumeFile,
): Promise<StoredVolume> {
  const volume = file === undefined ? await readVolume(store, layout) : parse(file);
  if (volume === undefined) throw volumeNotFound(config);
  const { state, size, chunkSize } = volume.record;
  if (state !== 'ready') {
    const verb = state === 'creating' ? 'create' : 'delete';
    throw new GatewayError('volume.unfinished', `The volume at "${config.prefix}" is not complete.`, {
      why: `An earlier "volume ${verb}" was interrupted.`,
      fix: `Run it again, it continues where it stopped: blockgate volume ${verb} <disk>`,
    });
  }
  checkSize(config, size);
  if (config.chunkSize !== undefined && config.chunkSize !== chunkSize) {
    throw new GatewayError(
      'volume.chunk-size-mismatch',
      `The volume at "${config.prefix}" has chunks of ${chunkSize} bytes, the configuration says ${config.chunkSize}.`,
      {
        why: 'The chunk size is fixed when a volume is created.',
        fix: `Set "chunkSize" to ${chunkSize}, or leave it out.`,
      },
    );
  }
  return volume;
}
