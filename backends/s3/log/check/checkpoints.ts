import { GatewayError } from '../../../../core/plugin.ts';
import type { CheckpointRef } from '../head.ts';
import type { LogSource } from '../log-source.ts';
import type { Checkpoint } from '../map/checkpoint.ts';
import { readCheckpoint } from '../map/read-checkpoint.ts';
import { BLOCK } from '../object-header.ts';
import type { Report } from './report.ts';

export interface CheckedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** As `Checkpoint.eachExtent`, without those that make no sense. */
  readonly eachExtent: Checkpoint['eachExtent'];
}

/** Whether the map is whole, and within its bounds. Undefined: it cannot be read. `size`: of the disk, bytes. */
export async function checkCheckpoint(
  source: Pick<LogSource, 'store' | 'key'>,
  { key, at }: CheckpointRef,
  size: number,
  view: string | undefined,
  report: Report,
): Promise<CheckedCheckpoint | undefined> {
  const all = { view, lba: 0, count: Math.ceil(size / BLOCK) };
  report.count('checkpoints');
  let checkpoint: Checkpoint;
  try {
    checkpoint = await readCheckpoint(source, key);
  } catch (error) {
    if (!GatewayError.is(error)) throw error;
    report.error(key, `the checkpoint is damaged: ${error.why}`, [all]);
    return undefined;
  }
  if (checkpoint.at.epoch !== at.epoch || checkpoint.at.seq !== at.seq) {
    report.error(key, 'it is the checkpoint of another moment', [all]);
    return undefined;
  }
  const { objects } = checkpoint;
  const live = new Float64Array(objects.length);
  let end = 0;
  /** What is wrong with an extent. */
  const problem = (lba: number, blocks: number, object: number, block: number): string | undefined => {
    if (blocks === 0) return 'it is empty';
    if (lba + blocks > all.count) return 'it lies beyond the end of the disk';
    if (lba < end) return 'it overlaps the one before it';
    if (objects[object] === undefined) return 'it comes from no object';
    return block + blocks > objects[object].blocks
      ? `it comes from beyond the end of ${objects[object].names.object(objects[object].place)}`
      : undefined;
  };
  const bad = new Set<number>();
  let number = 0;
  checkpoint.eachExtent((lba, blocks, object, block) => {
    const what = problem(lba, blocks, object, block);
    if (what !== undefined) {
      bad.add(number);
      report.error(key, `an extent of the checkpoint is wrong: ${what}`, [{ view, lba, count: blocks }]);
    } else {
      end = lba + blocks;
      live[object]! += blocks;
    }
    number++;
  });
  const unused = bad.size > 0 ? [] : objects.filter((_, i) => live[i] === 0);
  report.warning(
    unused.map(({ names, place }) => names.object(place)),
    `the checkpoint ${key} lists it, and no block comes from there`,
  );
  return {
    checkpoint,
    eachExtent(take) {
      let i = 0;
      checkpoint.eachExtent((lba, blocks, object, block) => {
        if (!bad.has(i++)) take(lba, blocks, object, block);
      });
    },
  };
}
