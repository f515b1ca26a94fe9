import type { ErrorDocs } from './error-docs.ts';

/** The filters that come with blockgate. */
export const FILTER_ERRORS: ErrorDocs = {
  'filter.file': {
    meaning: 'The file of a filter cannot be opened.',
    fix: 'Correct "file"; its folder has to exist.',
  },
  'filter.file-in-use': {
    meaning: 'Another disk uses the file of a filter.',
    fix: 'Give each disk a file of its own.',
  },
  'filter.cow-mismatch': {
    meaning: 'The overlay of a cow filter belongs to another disk.',
    fix: 'Name another file, or remove the overlay if what it holds is of no use.',
  },
  'filter.cache-page': {
    meaning: 'A cache filter has pages that are smaller than a block of what is below it.',
    fix: 'Give it a larger "page".',
  },
};
