import type { Finding } from '../../../core/plugin.ts';
import type { Concern } from './trial.ts';

const OTHER_STORE = 'Use another store (AWS, Ceph 20, MinIO since 2024), or a newer version of this one.';

/**
 * For which layouts a store is good that lacks something. An image is read and never written; a volume of chunks has an
 * owner by agreement only, which may be done without. Checksums that are not verified forbid nothing: volumes have their own,
 * and say so when they read what was damaged.
 */
export function layouts(lacking: ReadonlySet<Concern>): Finding[] {
  if (lacking.has('content'))
    return [{ severity: 'error', summary: 'no layout is safe there', fix: OTHER_STORE }];
  if (!lacking.has('conditions'))
    return ['log', 'chunk', 'image'].map((layout) => ({
      severity: 'ok',
      summary: `the layout "${layout}" is safe there`,
    }));
  return [
    {
      severity: 'error',
      summary: 'the layout "log" is not safe there: nothing keeps two gateways on one volume apart',
      fix: OTHER_STORE,
    },
    {
      severity: 'warning',
      summary:
        'the layout "chunk" is there only with "unsafeNoFence": you keep two gateways on one volume apart',
    },
    { severity: 'ok', summary: 'the layout "image" is safe there' },
  ];
}
