import { InvalidArgumentError } from 'commander';
import { parseMoment } from '../../util/moment.ts';

/** An option of the command line that is a time. */
export function momentArgument(value: string): Date {
  const at = parseMoment(value, Date.now());
  if (at !== undefined) return at;
  throw new InvalidArgumentError(
    'A time is as in 2026-03-29T14:00:00Z, or as in "2h ago", with s, min, h or d.',
  );
}
