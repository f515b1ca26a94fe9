import type { z } from 'zod';
import { GatewayError } from '../../core/plugin.ts';

/** What volume.json of one layout looks like. */
interface Shape<T> {
  readonly format: string;
  readonly version: number;
  readonly schema: z.ZodType<T>;
}

/** The format that a volume.json names; undefined where it names none. */
export function formatOf(body: Uint8Array): string | undefined {
  const value = parseJson(body);
  const isRecord = typeof value === 'object' && value !== null && 'format' in value;
  return isRecord && typeof value.format === 'string' ? value.format : undefined;
}

/** Throws a `GatewayError` that says what is wrong with it. */
export function parseVolumeFile<T>(body: Uint8Array, key: string, { format, version, schema }: Shape<T>): T {
  if (formatOf(body) !== format) {
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
  if (Array.isArray(requiredFeatures) && requiredFeatures.length > 0) {
    throw new GatewayError(
      'volume.unsupported-feature',
      `The volume at ${key} needs features that this blockgate lacks: ${requiredFeatures.join(', ')}.`,
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
