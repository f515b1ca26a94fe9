import type { Op } from '../api/device.ts';

/** Every operation, for configurations that name some. */
export const OPS = [
  'read',
  'write',
  'flush',
  'discard',
  'writeZeroes',
  'extents',
  'prefetch',
] as const satisfies readonly Op[];
