import { parseDuration } from './duration.ts';

const ISO = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/;

/** Parses a time in ISO 8601, or so long ago: `"2h ago"`, `"-2h"`. Returns undefined when it is none. */
export function parseMoment(text: string, now: number): Date | undefined {
  const trimmed = text.trim();
  if (ISO.test(trimmed)) {
    const time = new Date(trimmed);
    return Number.isNaN(time.getTime()) ? undefined : time;
  }
  const ago = /^-(.+)$|^(.+?)\s*ago$/.exec(trimmed);
  const ms = ago === null ? undefined : parseDuration(ago[1] ?? ago[2]!);
  return ms === undefined ? undefined : new Date(now - ms);
}
