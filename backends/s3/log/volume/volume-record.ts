import { z } from 'zod';
import { GatewayError } from '../../../../core/plugin.ts';
import type { S3Config } from '../../config.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { checkSize, volumeNotFound } from '../../volume-errors.ts';
import { parseVolumeFile, readVolumeFile, type VolumeFile } from '../../volume-file.ts';
import { CIPHER, type VolumeKey } from '../encryption/volume-key.ts';
import { COMPRESSIONS } from '../frames/compression.ts';
import { FrameCodec } from '../frames/frame-codec.ts';
import { isBeingDeleted, readHead, type StoredHead } from '../head.ts';
import type { LogNames } from '../names.ts';
import { BLOCK } from '../object-header.ts';

export const LOG_FORMAT = 'blockgate-log';
export const LOG_VERSION = 1;

const logRecord = z.object({
  format: z.literal(LOG_FORMAT),
  version: z.literal(LOG_VERSION),
  uuid: z.uuid(),
  blockSize: z.literal(BLOCK),
  /** Bytes, when it was created; what it has grown to is in `head`. */
  size: z.int().min(BLOCK).multipleOf(BLOCK),
  createdAt: z.string(),
  /** How frames are stored, unless the configuration says otherwise; each object says for itself how its own are. */
  compression: z.enum(COMPRESSIONS).default('none'),
  /** Everything in it is; its keys are in an object of their own. */
  encryption: z.literal(CIPHER).optional(),
  /** The volume that it was cloned from. */
  parent: z.object({ prefix: z.string(), uuid: z.uuid(), snapshot: z.string() }).optional(),
  /** The object that it began as, or its parent did: not a part of any volume, and not changed by any. */
  image: z.object({ key: z.string(), etag: z.string(), size: z.int().min(512) }).optional(),
  /** Names of features without which the volume must not be opened: see `featuresOf`. */
  requiredFeatures: z.array(z.string()),
});

/** The content of volume.json. Never changed. */
export type LogRecord = z.output<typeof logRecord>;

/** Where the volume is that it was cloned from, or else the image that it began as; undefined where it began as zeros. */
export const originOf = ({ parent, image }: Pick<LogRecord, 'parent' | 'image'>): string | undefined =>
  parent?.prefix ?? image?.key;

const SHAPE = {
  format: LOG_FORMAT,
  version: LOG_VERSION,
  schema: logRecord,
  features: ['zstd', 'lz4', 'encryption', 'image'],
};

/** What a blockgate must know to read the volume, besides what the first one knew. */
export const featuresOf = ({
  compression,
  encryption,
  image,
}: Pick<LogRecord, 'compression' | 'encryption' | 'image'>): string[] => [
  ...(compression === 'none' ? [] : [compression]),
  ...(encryption === undefined ? [] : ['encryption']),
  ...(image === undefined ? [] : ['image']),
];

/** Undefined when there is no volume. */
export async function readRecord(store: ObjectStore, names: LogNames): Promise<LogRecord | undefined> {
  const file = await readVolumeFile(store, names.prefix);
  return file && parseVolumeFile(file, SHAPE);
}

/** Writes it, if there is none. Fails with `precondition-failed` otherwise. */
export async function writeRecord(store: ObjectStore, names: LogNames, record: LogRecord): Promise<void> {
  await store.put(names.volume, Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`), {
    condition: 'absent',
  });
}

/** The volume, if it is complete and what the configuration says it is. `file`: if it is read already. */
export async function readLogVolume(
  store: ObjectStore,
  names: LogNames,
  config: Pick<S3Config, 'bucket' | 'prefix' | 'size'>,
  file?: VolumeFile,
): Promise<{ readonly record: LogRecord; readonly head: StoredHead }> {
  const [record, head] = await Promise.all([
    file === undefined ? readRecord(store, names) : parseVolumeFile(file, SHAPE),
    readHead(store, names),
  ]);
  if (record === undefined) throw volumeNotFound(config);
  if (head === undefined || head.head.volume !== record.uuid || isBeingDeleted(head.head))
    throw unfinished(config);
  checkSize(config, head.head.size);
  return { record, head };
}

/** How a disk with this configuration stores frames. */
export const codecOf = (
  { compression }: LogRecord,
  config: Pick<S3Config, 'compression'>,
  key: VolumeKey | undefined,
): FrameCodec => new FrameCodec(config.compression ?? compression, key);

function unfinished({ prefix }: Pick<S3Config, 'prefix'>): GatewayError {
  return new GatewayError('volume.unfinished', `The volume at "${prefix}" is not complete.`, {
    why: 'An earlier "volume create" or "volume delete" was interrupted.',
    fix: 'Run it again, it continues where it stopped: blockgate volume create (or delete) <disk>',
  });
}
