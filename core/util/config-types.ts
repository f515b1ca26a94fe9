import { z } from 'zod';
import { formatDuration, parseDuration } from './duration.ts';
import type { SecretRef } from './secret.ts';
import { formatSize, parseSize } from './size.ts';

/** zod building blocks for the configuration of plugins, so that sizes and secrets look the same everywhere. */

const SIZE_PATTERN = '^\\s*\\d+(\\.\\d+)?\\s*([KMGT]|[KMGTP]iB|[kKMGT]B|B)?\\s*$';

export interface SizeRange {
  readonly min?: number;
  readonly max?: number;
  /** The size must be a multiple of this. */
  readonly multipleOf?: number;
}

/** Bytes: a whole number, or a string such as `"10GiB"`. Output is a number. */
export function sizeSchema(range: SizeRange = {}): z.ZodType<number, number | string> {
  return (
    z
      // The pattern is for editors; the words below are for people.
      .union([z.int().nonnegative(), z.string().meta({ pattern: SIZE_PATTERN })])
      .meta({ examples: examplesOf(range) })
      .transform((value, ctx) => {
        const bytes = parseSize(value);
        const problem =
          bytes === undefined
            ? `not a size: ${JSON.stringify(value)}; write bytes, or a number with KiB, MiB, GiB or TiB`
            : outOfRange(bytes, range);
        if (problem === undefined) return bytes!;
        ctx.addIssue({ code: 'custom', message: problem });
        return z.NEVER;
      })
  );
}

function examplesOf(range: SizeRange): (string | number)[] {
  const fits = ['10GiB', '1GiB', '1MiB', '4KiB'].find(
    (text) => outOfRange(parseSize(text)!, range) === undefined,
  );
  return fits === undefined ? [] : [fits, parseSize(fits)!];
}

function outOfRange(bytes: number, { min, max, multipleOf }: SizeRange): string | undefined {
  if (min !== undefined && bytes < min) return `${formatSize(bytes)} is less than ${formatSize(min)}`;
  if (max !== undefined && bytes > max) return `${formatSize(bytes)} is more than ${formatSize(max)}`;
  if (multipleOf !== undefined && bytes % multipleOf !== 0)
    return `${bytes} is not a multiple of ${multipleOf}`;
  return undefined;
}

const DURATION_PATTERN = '^\\s*\\d+(\\.\\d+)?\\s*(s|min|h|d)?\\s*$';

/** A time: seconds, or a string such as `"24h"`. Output is a number of milliseconds, 0 or within the range. */
export function durationSchema({
  min,
  max,
}: {
  readonly min: number;
  readonly max: number;
}): z.ZodType<number, number | string> {
  return z
    .union([z.number().nonnegative(), z.string().meta({ pattern: DURATION_PATTERN })])
    .transform((value, ctx) => {
      const ms = parseDuration(value);
      if (ms !== undefined && (ms === 0 || (ms >= min && ms <= max))) return ms;
      const message =
        ms === undefined
          ? `not a time: ${JSON.stringify(value)}; write seconds, or a number with s, min, h or d`
          : `${formatDuration(ms)} is not between ${formatDuration(min)} and ${formatDuration(max)}`;
      ctx.addIssue({ code: 'custom', message });
      return z.NEVER;
    });
}

/** A reference to a secret: `{ "env": "NAME" }` or `{ "file": "path" }`. A literal string is refused. */
export function secretSchema(): z.ZodType<SecretRef, SecretRef> {
  return z
    .union([z.strictObject({ env: z.string().min(1) }), z.strictObject({ file: z.string().min(1) })], {
      error: 'a secret is written { "env": "NAME" } or { "file": "path" }, never as its value',
    })
    .meta({ description: 'Where to read the secret: an environment variable or a file.' });
}
