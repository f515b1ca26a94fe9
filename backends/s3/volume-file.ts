import type { z } from 'zod';
import { GatewayError } from '../../core/plugin.ts';
import type { ObjectStore } from './store/object-store.ts';

/** What volume.json of one layout looks like. */
interface Shape<T> {
  readonly format: string;
  readonly version: number;
  readonly schema: z.ZodType<T>;
  /** Those of its `requiredFeatures` that are known. */
  readonly features?: readonly string[];
}

const MAX_BYTES = 64 * 1024;

/** volume.json as it is stored. */
export interface VolumeFile {
  readonly key: string;
  readonly body: Uint8Array;
  readonly etag: string;
}

/** Undefined when there is none under this prefix. */
export async function readVolumeFile(store: ObjectStore, prefix: string): Promise<VolumeFile | undefined> {
  const key = `${prefix}/volume.json`;
  const object = await store.get(key, MAX_BYTES);
  return object && { key, body: object.body, etag: object.info.etag };
}

/** The format that a volume.json names; undefined where it names none. */
export function formatOf({ body }: VolumeFile): string | undefined {
  const value = parseJson(body);
  const isRecord = typeof value === 'object' && value !== null && 'format' in value;
  return isRecord && typeof value.format === 'string' ? value.format : undefined;
}

/** Throws a `GatewayError` that says what is wrong with it. */
export function parseVolumeFile<T>(
  file: VolumeFile,
  { format, version, schema, features = [] }: Shape<T>,
): T {
  const { key, body } = file;
  if (formatOf(file) !== format) {
    throw new GatewayError('volume.not-a-volume', `The object ${key} does not describe a volume.`, {
      why: `It is not JSON with "format": "${format}".`,
      fix: 'Use another "prefix"; this one holds something else.',
    });
  }
  const value = parseJson(body) as { version?: unknown; requiredFeatures?: unknown };
  if (value.version !== version) {
    throw new GatewayError(
      'volume.unsupported-version',
      `The volume at ${key} has format version ${JSON.stringify(value.version)}.`,
      {
        why: `This blockgate knows version ${version} only.`,
        fix: 'Use the blockgate that wrote it, or a newer one.',
      },
    );
  }
  const { requiredFeatures } = value;
  const unknown = Array.isArray(requiredFeatures)
    ? requiredFeatures.filter((feature) => !features.includes(feature))
    : [];
  if (unknown.length > 0) {
    throw new GatewayError(
      'volume.unsupported-feature',
      `The volume at ${key} needs features that this blockgate lacks: ${unknown.join(', ')}.`,
      { fix: 'Use the blockgate that wrote it, or a newer one.' },
    );
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    throw new GatewayError('volume.corrupt', `The volume description ${key} is damaged.`, {
      why: parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '),
      fix: 'Restore the object from a backup or an older version.',
      cause: parsed.error,
    });
  }
  return parsed.data;
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return undefined;
  }
}
