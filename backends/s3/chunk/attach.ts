import type { BlockError, Logger, OpenContext } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import type { DiskSession, MakeDevice } from '../disk-session.ts';
import { explained } from '../errors.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { COURTESY_POLICY } from '../store/retrying-store.ts';
import { checkReadOnlyGrowth, noConditionalWrites } from '../volume-errors.ts';
import type { VolumeFile } from '../volume-file.ts';
import { ChunkStore } from './chunk-store.ts';
import { ChunkDevice, type DeviceParts } from './device.ts';
import { Garbage } from './garbage.ts';
import { growVolume } from './grow.ts';
import { Layout } from './layout.ts';
import { OwnedObjects } from './owned-objects.ts';
import { Ownership, UNFENCED } from './owner.ts';
import { PresenceMap } from './presence-map.ts';
import { ReadCache } from './read-cache.ts';
import { sweepOrphans } from './sweep.ts';
import { chunkCount, readReadyVolume } from './volume-record.ts';
import { WriteBuffer } from './write-buffer.ts';
import { Writeback } from './writeback.ts';

/** What uploads may use of the requests; the rest is kept for reads, which somebody waits for. */
const UPLOAD_SHARE = 0.75;
const NEVER = new AbortController().signal;

/** Opens a volume with the layout `chunk`. */
export async function openChunk(
  session: DiskSession,
  config: S3Config,
  ctx: OpenContext,
  file: VolumeFile,
): Promise<MakeDevice> {
  const parts = await open(session, config, ctx, file);
  return (close) => new ChunkDevice({ ...parts, meter: session.meter, close });
}

async function open(
  session: DiskSession,
  config: S3Config,
  ctx: OpenContext,
  file: VolumeFile,
): Promise<Omit<DeviceParts, 'close' | 'meter'>> {
  const { starting, running, life, undo } = session;
  const layout = new Layout(config.prefix);
  const { logger } = ctx;
  const { record } = await readReadyVolume(starting, layout, config, file);
  const { uuid: volume, size, chunkSize } = record;
  const chunkTotal = chunkCount(record);
  const chunkOptions = { store: running, layout, volume, chunkSize, logger };

  if (ctx.readOnly) {
    const map = await PresenceMap.load(starting, layout, volume, chunkTotal);
    const chunks = new ChunkStore({ ...chunkOptions, objects: undefined });
    const grow = (wanted?: number) => explained(config, () => regrow(starting, layout, config, map, wanted));
    return { size, chunks, map, cache: new ReadCache(chunks, config.readCache), writer: undefined, grow };
  }

  const ownership = (await acquire(starting, layout, volume, config, ctx)).through(running);
  let leftovers = () => ownership.uncleanStart;
  // Otherwise the next start finds out by itself that we are gone.
  undo.defer(() => release(ownership.through(session.with(COURTESY_POLICY, NEVER)), leftovers(), logger));
  const map = await PresenceMap.load(starting, layout, volume, chunkTotal);
  const objects = new OwnedObjects(running, ownership, logger);
  const chunks = new ChunkStore({ ...chunkOptions, objects });
  const cache = new ReadCache(chunks, config.readCache);
  const garbage = new Garbage(chunks, map, chunkTotal);
  const maxUploads = Math.max(1, Math.floor(config.maxRequests * UPLOAD_SHARE));
  const buffer = new WriteBuffer({ chunks, map, cache, garbage, bytes: config.writeBuffer, maxUploads });
  const onLost = (reason: BlockError) => life.abort(reason);
  const writeback = new Writeback({ buffer, map, garbage, objects, ownership, logger, onLost });

  let swept = !ownership.uncleanStart;
  if (ownership.uncleanStart) {
    sweepOrphans(running, layout, { map, buffer, garbage }).then(
      () => {
        swept = true;
      },
      (error: unknown) =>
        logger.debug('the sweep for orphaned objects ended early', { reason: String(error) }),
    );
  }
  leftovers = () => !swept || garbage.count > 0 || map.dirty;
  undo.defer(async () => {
    writeback[Symbol.dispose]();
    if (buffer.dirtyChunks > 0) {
      logger.error('changes that were never flushed successfully are lost', {
        chunks: buffer.dirtyChunks,
        chunkSize,
      });
    }
    await garbage.stop();
  });
  const grow = (wanted?: number) =>
    explained(config, async () => {
      await ownership.verify();
      if (wanted !== undefined) await growVolume(starting, layout, config, wanted);
      const now = await regrow(starting, layout, config, map);
      garbage.grow(Math.ceil(now / chunkSize));
      return now;
    });
  return { size, chunks, map, cache, writer: { buffer, writeback }, grow };
}

/** Takes in what the volume has grown to; only its owner makes it grow. */
async function regrow(
  store: ObjectStore,
  layout: Layout,
  config: S3Config,
  map: PresenceMap,
  wanted?: number,
): Promise<number> {
  const { record } = await readReadyVolume(store, layout, { ...config, size: undefined });
  checkReadOnlyGrowth(config, record.size, wanted);
  await map.grow(store, chunkCount(record));
  return record.size;
}

/** Becomes the owner of the volume, on a store that can keep others from becoming it too. */
async function acquire(
  store: ObjectStore,
  layout: Layout,
  volume: string,
  config: S3Config,
  { disk, takeOver, logger }: OpenContext,
): Promise<Ownership> {
  const unfenced = config.unsafeNoFence;
  const ownership = await Ownership.acquire(store, layout, { disk, volume, takeOver, unfenced, logger });
  if (unfenced) {
    logger.warn('the volume is open without protection against a second gateway ("unsafeNoFence")');
    return ownership;
  }
  if (await ownership.conditionsHold()) return ownership;
  await release(ownership, ownership.uncleanStart, logger);
  throw noConditionalWrites(UNFENCED);
}

async function release(ownership: Ownership, leftovers: boolean, logger: Logger): Promise<void> {
  try {
    await ownership.release({ leftovers });
  } catch (error) {
    logger.warn('the volume could not be released; a gateway elsewhere will have to take it over', {
      reason: (error as Error).message,
    });
  }
}
