import type { AffectedRange, VolumeFinding } from '../../../../core/plugin.ts';
import { BLOCK } from '../object-header.ts';

/** Blocks of the disk as one of its views has them: as it is now (`undefined`), or a snapshot. */
export interface Blocks {
  readonly view: string | undefined;
  readonly lba: number;
  readonly count: number;
}

/** What a check finds, as it goes. */
export class Report {
  readonly findings: VolumeFinding[] = [];
  readonly counts: Record<string, number> = {};

  get hasErrors(): boolean {
    return this.findings.some(({ severity }) => severity === 'error');
  }

  count(what: string, more = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + more;
  }

  error(where: string, what: string, affected: readonly Blocks[] = []): void {
    this.findings.push({
      severity: 'error',
      what,
      where,
      count: 1,
      affected: rangesOf(affected),
      repair: 'none',
    });
  }

  /** One finding of all these objects, if there are any. */
  warning(keys: readonly string[], what: string, repair: VolumeFinding['repair'] = 'none'): void {
    if (keys.length === 0) return;
    this.findings.push({
      severity: 'warning',
      what,
      where: keys[0]!,
      count: keys.length,
      affected: [],
      repair,
    });
  }
}

/** In the order of the disk, now first; neighbours are one range. */
function rangesOf(blocks: readonly Blocks[]): AffectedRange[] {
  const sorted = blocks.toSorted(
    (a, b) => (a.view ?? '').localeCompare(b.view ?? '') || a.lba - b.lba || a.count - b.count,
  );
  const ranges: { view: string | undefined; start: number; end: number }[] = [];
  for (const { view, lba, count } of sorted) {
    const last = ranges.at(-1);
    if (last !== undefined && last.view === view && lba <= last.end)
      last.end = Math.max(last.end, lba + count);
    else ranges.push({ view, start: lba, end: lba + count });
  }
  return ranges.map(({ view, start, end }) => ({
    ...(view === undefined ? {} : { snapshot: view }),
    offset: start * BLOCK,
    length: (end - start) * BLOCK,
  }));
}
