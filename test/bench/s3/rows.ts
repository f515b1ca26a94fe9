import type { Row } from './measure.ts';
import { BOOT } from './rows/boot.ts';
import { COLLECTION } from './rows/collection.ts';
import { COSTS } from './rows/costs.ts';
import { OPENING } from './rows/opening.ts';
import { OUTAGE } from './rows/outage.ts';
import { READING } from './rows/reading.ts';
import { SIZES } from './rows/sizes.ts';
import { WRITING } from './rows/writing.ts';

const numberOf = ({ what }: Row): number => Number(/^P(\d+) /.exec(what)![1]);

/** The table. */
export const ROWS: readonly Row[] = [
  ...WRITING,
  ...READING,
  ...COSTS,
  ...COLLECTION,
  ...OPENING,
  ...OUTAGE,
  ...BOOT,
]
  .sort((a, b) => numberOf(a) - numberOf(b))
  .concat(SIZES);
