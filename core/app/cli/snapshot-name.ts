import { InvalidArgumentError } from 'commander';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$/;

/** An argument of the command line that names a snapshot. */
export function snapshotName(value: string): string {
  if (NAME.test(value)) return value;
  throw new InvalidArgumentError('A name is 1 to 100 letters, digits, ".", "_", ":" or "-".');
}
