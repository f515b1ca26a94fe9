import type { ErrorDocs } from './error-docs.ts';

/** `blockgate volume import` and `export`. */
export const COPY_ERRORS: ErrorDocs = {
  'copy.no-image': {
    meaning: 'The image cannot be read, or made.',
    fix: 'Name a file, a block device, or an NBD URI.',
  },
  'copy.exists': {
    meaning: 'There is a file in the place of the new image already.',
    fix: 'Name another one, or add --overwrite.',
  },
  'copy.no-qemu': {
    meaning: 'The image is in a format of QEMU, whose tools are missing or refuse it.',
    fix: 'Install qemu-utils, and name the format with --format.',
  },
  'copy.too-large': {
    meaning: 'What is to be copied does not fit.',
    fix: 'Grow the disk (blockgate volume resize), or name a larger target.',
  },
  'copy.too-small': {
    meaning: 'The image is smaller than the disk, whose rest would become zeros.',
    fix: 'If that is meant, add --allow-smaller.',
  },
  'copy.failed': {
    meaning: 'Reading one side or writing the other failed.',
    fix: 'Mend that, and run the command again with --resume.',
  },
  'copy.different': {
    meaning: 'With --verify: the copy is not what its source is.',
    fix: 'Make sure that nobody uses either of them, and copy again.',
  },
  'copy.not-resumable': {
    meaning: 'With --resume: nothing was interrupted, or source or target were changed since.',
    fix: 'Run the command without --resume.',
  },
};
