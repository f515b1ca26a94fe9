import { GatewayError } from '../../../../core/plugin.ts';
import type { CheckpointRef } from '../head.ts';
import type { LogSource } from '../log-source.ts';
import { PAGE_BLOCKS } from '../map/page-blocks.ts';
import { StoredMap } from '../map/stored-map.ts';
import { BLOCK } from '../object-header.ts';
import type { Report } from './report.ts';

/**
 * Whether the map is whole, and within its bounds. Returns it with all of it in memory, without what makes no sense; undefined
 * when it cannot be read. `size`: of the disk, bytes.
 */
export async function checkCheckpoint(
  source: LogSource,
  ref: CheckpointRef,
  size: number,
  view: string | undefined,
  report: Report,
): Promise<StoredMap | undefined> {
  const all = { view, lba: 0, count: Math.ceil(size / BLOCK) };
  report.count('checkpoints');
  const stored = await readable(
    () => StoredMap.open(source, ref),
    (why) => report.error(ref.key, `the checkpoint is damaged: ${why}`, [all]),
  );
  if (stored === undefined) return undefined;
  let isWhole = true;
  await readable(
    () => stored.knowObjects(),
    (why) => {
      isWhole = false;
      report.error(ref.key, `the table of objects of the checkpoint is damaged: ${why}`);
    },
  );
  const { map } = stored;
  for (const page of map.inOrder()) {
    const lba = page.number * PAGE_BLOCKS;
    const blocks = { view, lba, count: Math.max(0, Math.min(PAGE_BLOCKS, all.count - lba)) };
    await readable(
      () => map.needPage(page),
      (why) => {
        isWhole = false;
        report.error(ref.key, `page ${page.number} of the map is damaged: ${why}`, [blocks]);
        map.forget(page);
      },
    );
  }
  const outside: { readonly lba: number; readonly count: number }[] = [];
  const found = new Map<number, number>();
  await map.eachRun(({ lba, count, id }) => {
    if (lba + count > all.count) outside.push({ lba, count });
    found.set(id, (found.get(id) ?? 0) + count);
  });
  if (isWhole) checkCounts(stored, found, ref.key, report);
  for (const { lba, count } of outside) {
    report.error(ref.key, 'an extent of the checkpoint is wrong: it lies beyond the end of the disk', [
      { view, lba, count },
    ]);
    map.clear(lba, count);
  }
  return stored;
}

/** How many blocks come from each object: what seems to have none is deleted. */
function checkCounts(
  { table }: StoredMap,
  found: ReadonlyMap<number, number>,
  key: string,
  report: Report,
): void {
  for (const { id, live, names, place } of table.values()) {
    const blocks = found.get(id) ?? 0;
    if (blocks !== live)
      report.error(key, `it counts ${live} blocks of ${names.object(place!)}, and ${blocks} come from there`);
  }
}

async function readable<T>(read: () => Promise<T>, say: (why: string) => void): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!GatewayError.is(error)) throw error;
    say(`${error.message} ${error.why ?? ''}`.trim());
    return undefined;
  }
}
