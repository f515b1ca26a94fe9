import type { FilterPlugin } from '../api/filter.ts';

/** The filters that come with blockgate; each is loaded when a disk names it. */
export const builtinFilters: Readonly<Record<string, () => Promise<{ readonly default: FilterPlugin }>>> = {
  cache: () => import('./cache/cache.ts'),
  cow: () => import('./cow/cow.ts'),
  delay: () => import('./delay.ts'),
  error: () => import('./error.ts'),
  log: () => import('./log.ts'),
  rate: () => import('./rate.ts'),
  readonly: () => import('./readonly.ts'),
  stats: () => import('./stats.ts'),
};
