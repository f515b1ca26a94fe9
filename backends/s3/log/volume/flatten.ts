import { GatewayError, type Progress, type VolumeInfo } from '../../../../core/plugin.ts';
import { deleteAll, type Operation } from '../../operation.ts';
import { FrameCache } from '../cache/frame-cache.ts';
import { gather, type LiveRun } from '../collection/gather.ts';
import { FrameCodec } from '../frames/frame-codec.ts';
import type { LogSource } from '../log-source.ts';
import { needsOfAll } from '../map/needs.ts';
import { LogNames } from '../names.ts';
import type { LogWriter } from '../writer.ts';
import { describe } from './volumes.ts';
import { readVolume, withWriter } from './with-writer.ts';

/** What is read and written at once: of an object 8 MiB. Blocks. */
const BATCH = 2048;
/** Pages of the map between two checkpoints. */
const PAGES = 256;

/**
 * Copies what a clone still has of its parent, so that it needs it no more. What was copied stays when this is interrupted, and
 * is not copied again. Throws `volume.needs-parent` while a snapshot of the clone does.
 */
export async function flattenVolume(operation: Operation, progress: Progress): Promise<VolumeInfo> {
  const { store, config } = operation;
  const { record, head } = await readVolume(operation);
  const { parent } = record;
  if (parent === undefined) {
    throw new GatewayError('volume.unsupported', `The volume at "${config.prefix}" is no clone.`, {
      why: 'Everything that it needs is its own.',
    });
  }
  if (head.head.isFlat !== true)
    await withWriter(operation, async (writer, source) => {
      await refuseWithSnapshots(writer, source);
      try {
        await copyAll(writer, source, progress);
      } finally {
        // What was copied stays, and the volume is let go only when nothing is on its way.
        if (writer.appender.failure === undefined) await writer.appender.flushToStore();
      }
      // Points of before need the parent: they go, as of this moment there is nothing to go back to.
      await writer.change(({ points }) => ({ isFlat: true, ...(points !== undefined && { points: [] }) }));
    });
  // From here on nothing of the parent is needed; whoever was interrupted here comes here again.
  await deleteAll(store, [new LogNames(parent.prefix).refs + record.uuid]);
  return describe(record, (await readVolume(operation)).head.head, config, {});
}

/** What a snapshot is made of stays as it is, and with it what of the parent is in it. */
async function refuseWithSnapshots({ head }: LogWriter, source: LogSource): Promise<void> {
  const isForeign = (key: string): boolean => !key.startsWith(source.names.root);
  const needing: string[] = [];
  for (const { name, checkpoint } of head.snapshots)
    if ([...(await needsOfAll(source, [checkpoint]))].some(isForeign)) needing.push(`"${name}"`);
  if (needing.length === 0) return;
  throw new GatewayError('volume.needs-parent', 'Snapshots of the clone need its parent.', {
    why: `They are ${needing.join(', ')}, and what a snapshot refers to stays where it is.`,
    fix: 'Delete these snapshots first, or keep the parent.',
  });
}

async function copyAll(writer: LogWriter, source: LogSource, progress: Progress): Promise<void> {
  const { stored } = writer.recovered;
  const { map, table } = stored;
  const frames = new FrameCache(source.store, new FrameCodec('none', source.key), 0);
  await stored.knowObjects();
  const pages = map.inOrder();
  let sinceCheckpoint = 0;
  for (const [i, page] of pages.entries()) {
    const foreign = (await map.runsOf(page))
      .map(({ id, ...run }) => ({ object: table.get(id), ...run }))
      .filter(({ object }) => object.names.root !== source.names.root);
    for (const batch of batches(foreign)) await copy(writer, frames, batch);
    if (await stored.ownPage(page)) sinceCheckpoint++;
    progress(i + 1, pages.length);
    if (sinceCheckpoint < PAGES) continue;
    await store(writer);
    sinceCheckpoint = 0;
  }
  await store(writer);
  if (!stored.isOwn) throw new Error('something of the parent is needed still');
}

async function copy({ appender }: LogWriter, frames: FrameCache, runs: readonly LiveRun[]): Promise<void> {
  const data = await gather(frames, runs);
  for (const [i, { lba, count }] of runs.entries())
    if (data[i] !== undefined) await appender.write(lba, count, [data[i]], 0);
}

/** What was copied is in the log, and then in the map. */
async function store(writer: LogWriter): Promise<void> {
  await writer.appender.flushToStore();
  await writer.checkpoint();
}

/** Runs of `BATCH` blocks in all, those that are longer in pieces. */
function* batches(runs: readonly LiveRun[]): Generator<LiveRun[]> {
  let batch: LiveRun[] = [];
  let blocks = 0;
  for (const { object, lba, block, count } of runs)
    for (let done = 0; done < count; ) {
      const piece = Math.min(count - done, BATCH - blocks);
      batch.push({ object, lba: lba + done, block: block + done, count: piece });
      blocks += piece;
      done += piece;
      if (blocks < BATCH) continue;
      yield batch;
      batch = [];
      blocks = 0;
    }
  if (batch.length > 0) yield batch;
}
