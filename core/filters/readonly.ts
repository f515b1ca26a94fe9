import { z } from 'zod';
import { defineFilter } from '../api/filter.ts';
import { ReadOnly } from '../block/read-only.ts';

export default defineFilter({
  name: 'readonly',
  description: 'Lets nothing through that changes data. The store below is opened for writing all the same.',
  config: z.strictObject({}),
  stance: {
    read: 'pass',
    write: 'reject',
    flush: 'own',
    discard: 'reject',
    writeZeroes: 'reject',
    extents: 'pass',
    prefetch: 'pass',
  },
  wrap: (next) => new ReadOnly(next),
});
