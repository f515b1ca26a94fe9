import type { FilterPlugin } from '../api/filter.ts';

/** The filters that come with blockgate; each is loaded when a disk names it. */
export const builtinFilters: Readonly<Record<string, () => Promise<{ readonly default: FilterPlugin }>>> = {
  delay: () => import('./delay.ts'),
  error: () => import('./error.ts'),
};
