import { BlockError, type OpenContext } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import type { DiskSession, MakeDevice } from '../disk-session.ts';
import { explained } from '../errors.ts';
import { COURTESY_POLICY } from '../store/retrying-store.ts';
import { checkNewSize, checkReadOnlyGrowth } from '../volume-errors.ts';
import type { VolumeFile } from '../volume-file.ts';
import { BootWatch, bootOptions } from './boot/boot-watch.ts';
import { FrameCache } from './cache/frame-cache.ts';
import { ObjectCache } from './cache/object-cache.ts';
import { type DeviceParts, LogDevice } from './device.ts';
import { unlockVolume } from './encryption/volume-keys.ts';
import { FrameCodec } from './frames/frame-codec.ts';
import { BaseImage, checkImage } from './image/base-image.ts';
import { openJournalFile, promiseOf, replayJournal, useJournal } from './journal/open-journal.ts';
import { LogNames } from './names.ts';
import { BLOCK } from './object-header.ts';
import { type Observed, observe } from './observe.ts';
import { Overlay } from './overlay.ts';
import { LogReader } from './reader.ts';
import { takeVolume } from './take-volume.ts';
import { flattenInBackground } from './volume/background-flatten.ts';
import { findPoint } from './volume/volume-points.ts';
import { codecOf, readLogVolume } from './volume/volume-record.ts';
import type { LogWriter } from './writer.ts';

/** What the replay of a boot profile may use of the requests, unless somebody waits to send one. */
const REPLAY_SHARE = 0.5;

type OpenParts = Omit<DeviceParts, 'close' | 'meter'>;

/** Opens a volume with the layout `log`. */
export async function openLog(
  session: DiskSession,
  config: S3Config,
  ctx: OpenContext,
  file: VolumeFile,
): Promise<MakeDevice> {
  const parts = await (ctx.readOnly ? openReadOnly : openWriter)(session, config, ctx, file);
  return (close) => new LogDevice({ ...parts, meter: session.meter, close });
}

async function openReadOnly(
  session: DiskSession,
  config: S3Config,
  ctx: OpenContext,
  _file: VolumeFile,
): Promise<OpenParts> {
  const { starting, running } = session;
  const names = new LogNames(config.prefix);
  const { record, head, recovered, key } = await observe(starting, names, config, ctx);
  const { stored } = recovered;
  stored.reader.store = running;
  // Its writer, or the next, may delete the checkpoint: from then on only what is in memory is known.
  void stored.map.fill();
  const { journal } = head.head;
  if (journal != null)
    ctx.logger.warn('what its last writer has in a journal, and not in the store, is not shown', {
      journal: journal.path,
      host: journal.host,
    });
  const frames = await openFrames(session, config, ctx, { record, head }, new FrameCodec('none', key));
  const { size } = head.head;
  const reader = new LogReader(stored.map, new Overlay(), stored.table, frames);
  return {
    size,
    frames,
    reader,
    boot: watchBoot(session, config, ctx, { record, key, size, reader, frames }),
    writer: undefined,
    flatten: undefined,
    grow: async (wanted) => {
      const { size } = (await readLogVolume(starting, names, { ...config, size: undefined })).head.head;
      checkReadOnlyGrowth(config, size, wanted);
      return size;
    },
  };
}

async function openWriter(
  session: DiskSession,
  config: S3Config,
  ctx: OpenContext,
  file: VolumeFile,
): Promise<OpenParts> {
  const { starting, running, life, undo } = session;
  const { logger } = ctx;
  const names = new LogNames(config.prefix);
  const volume = await readLogVolume(starting, names, config, file);
  const key = await unlockVolume(starting, names, volume.record, config, ctx);
  const codec = codecOf(volume.record, config, key);
  const frames = await openFrames(session, config, ctx, volume, codec);
  const journal = await openJournalFile(config, ctx, volume.record.uuid, undo);
  const writer = await takeVolume({
    stores: { starting, running },
    volume,
    config,
    ctx,
    codec,
    frames,
    journal,
    retention: config.retention,
    onFailed: (reason) => {
      if (reason.code === 'ESHUTDOWN') return;
      logger.error('the disk fails every request from now on', { why: reason.message });
      life.abort(reason);
    },
  });
  undo.defer(() => closeWriter(writer, config, ctx));
  const { stored, replayed } = writer.recovered;
  if (journal !== undefined) {
    if (writer.head.journal != null)
      logger.info('what was in the journal is stored', { changes: await replayJournal(journal, writer) });
    await useJournal(journal, writer, config, ctx);
  }
  const durability = promiseOf(config, journal);
  logger.info('the volume is open', { epoch: writer.head.epoch, replayed, durability });
  const { size } = writer.head;
  const { record } = volume;
  const reader = new LogReader(stored.map, writer.overlay, stored.table, frames);
  return {
    size,
    frames,
    reader,
    boot: watchBoot(session, config, ctx, { record, key, size, reader, frames }),
    writer,
    flatten: flattenInBackground(session, config, ctx, { record, names, key, writer, frames }),
    grow: (wanted) => explained(config, () => grow(writer, config, wanted)),
    keep: (name, moment) =>
      explained(config, () => writer.keepPoint(name, (head) => findPoint(head, moment, config))),
  };
}

/** Throws where the image of the volume is not what it was. */
async function openFrames(
  { starting, running, undo }: DiskSession,
  config: S3Config,
  ctx: OpenContext,
  { record, head }: Pick<Observed, 'record' | 'head'>,
  codec: FrameCodec,
): Promise<FrameCache> {
  const image = await checkImage(starting, record, head.head, config);
  const disk = await ObjectCache.open(config, running, ctx, undo);
  return new FrameCache(running, codec, config.readCache, {
    disk,
    image: image && new BaseImage(running, image, ctx.logger, disk?.shared),
  });
}

function watchBoot(
  { with: through, isBusy, undo }: DiskSession,
  config: S3Config,
  { readOnly, logger }: OpenContext,
  {
    record,
    key,
    size,
    reader,
    frames,
  }: Pick<OpenParts, 'size' | 'reader' | 'frames'> & Pick<Observed, 'record' | 'key'>,
): BootWatch | undefined {
  const options = bootOptions(config);
  if (options === undefined) return undefined;
  const boot = new BootWatch(
    // A read-only disk changes nothing of its volume.
    { ...options, record: options.record && !readOnly },
    {
      source: { store: through(COURTESY_POLICY), names: new LogNames(config.prefix), key },
      volume: record,
      replay: {
        reader,
        frames,
        blocks: size / BLOCK,
        maxRequests: Math.ceil(config.maxRequests * REPLAY_SHARE),
        isBusy,
      },
      logger,
    },
  );
  undo.defer(() => boot.close());
  return boot;
}

async function grow(writer: LogWriter, config: S3Config, wanted: number | undefined): Promise<number> {
  const { size } = writer.head;
  if (wanted === undefined || wanted === size) return size;
  checkNewSize(config, size, wanted, BLOCK);
  await writer.change(() => ({ size: wanted }));
  return wanted;
}

async function closeWriter(writer: LogWriter, { prefix }: S3Config, { logger }: OpenContext): Promise<void> {
  const { appender } = writer;
  const bytes = (): number => (appender.failure === undefined ? appender.bytes : 0);
  if (appender.journal === undefined && bytes() > 0)
    logger.error('changes that were never flushed successfully are lost', { bytes: bytes() });
  try {
    await writer.release();
  } catch (error) {
    logger.warn('the volume could not be released; a gateway elsewhere will have to take it over', {
      volume: prefix,
      reason: (error as Error).message,
    });
  } finally {
    if (appender.journal !== undefined && bytes() > 0)
      logger.warn('changes are in the journal only, until this disk is started again', { bytes: bytes() });
    appender.stop(new BlockError('ESHUTDOWN', 'the disk is closed'));
  }
}
