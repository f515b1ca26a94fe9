import { z } from 'zod';
import { GatewayError } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { parseVolumeFile } from '../volume-file.ts';
import { isBeingDeleted, readHead, type StoredHead } from './head.ts';
import type { LogNames } from './names.ts';
import { BLOCK } from './object-header.ts';

export const LOG_FORMAT = 'blockgate-log';
export const LOG_VERSION = 1;
const MAX_RECORD_BYTES = 64 * 1024;

const logRecord = z.object({
  format: z.literal(LOG_FORMAT),
  version: z.literal(LOG_VERSION),
  uuid: z.uuid(),
  blockSize: z.literal(BLOCK),
  /** Bytes, when it was created; what it has grown to is in `head`. */
  size: z.int().min(BLOCK).multipleOf(BLOCK),
  createdAt: z.string(),
  /** The volume that it was cloned from. */
  parent: z.object({ prefix: z.string(), uuid: z.uuid(), snapshot: z.string() }).optional(),
  /** Names of features without which the volume must not be opened. None are known to this version. */
  requiredFeatures: z.array(z.string()),
});

/** The content of volume.json. Never changed. */
export type LogRecord = z.output<typeof logRecord>;

const SHAPE = { format: LOG_FORMAT, version: LOG_VERSION, schema: logRecord };

/** Undefined when there is no volume. */
export async function readRecord(store: ObjectStore, names: LogNames): Promise<LogRecord | undefined> {
  const object = await store.get(names.volume, MAX_RECORD_BYTES);
  return object && parseVolumeFile(object.body, names.volume, SHAPE);
}

/** The volume, if it is complete and what the configuration says it is. */
export async function readLogVolume(
  store: ObjectStore,
  names: LogNames,
  config: Pick<S3Config, 'bucket' | 'prefix' | 'size'>,
): Promise<{ readonly record: LogRecord; readonly head: StoredHead }> {
  const [record, head] = await Promise.all([readRecord(store, names), readHead(store, names)]);
  if (record === undefined) throw notFound(names, config);
  if (head === undefined || head.head.volume !== record.uuid || isBeingDeleted(head.head))
    throw unfinished(config);
  const { size } = head.head;
  if (config.size !== undefined && config.size !== size) {
    throw new GatewayError(
      'volume.size-mismatch',
      `The volume at "${config.prefix}" has ${size} bytes, the configuration says ${config.size}.`,
      {
        fix:
          config.size > size
            ? `Grow the volume (blockgate volume resize <disk> ${config.size}), or set "size" to ${size}.`
            : `Set "size" to ${size}, or leave it out; a volume does not shrink.`,
      },
    );
  }
  return { record, head };
}

export function notFound(
  names: LogNames,
  { prefix, bucket }: Pick<S3Config, 'bucket' | 'prefix'>,
): GatewayError {
  return new GatewayError('volume.not-found', `There is no volume at "${prefix}" in bucket "${bucket}".`, {
    why: `The object ${names.volume} does not exist.`,
    fix: 'Create it: blockgate volume create <disk>',
  });
}

export function unfinished({ prefix }: Pick<S3Config, 'prefix'>): GatewayError {
  return new GatewayError('volume.unfinished', `The volume at "${prefix}" is not complete.`, {
    why: 'An earlier "volume create" or "volume delete" was interrupted.',
    fix: 'Run it again, it continues where it stopped: blockgate volume create (or delete) <disk>',
  });
}
