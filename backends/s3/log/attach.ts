import { randomBytes } from 'node:crypto';
import { BlockError, GatewayError, type OpenContext, ownIdentity } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import { explained } from '../errors.ts';
import { refuseUnlessGone } from '../holder.ts';
import { type Session, startSession } from '../session.ts';
import type { ObjectStore, PutCondition } from '../store/object-store.ts';
import { ATTACH_POLICY, type RetryPolicy, RUN_POLICY } from '../store/retrying-store.ts';
import { isStoreError } from '../store/store-error.ts';
import { type DeviceParts, LogDevice } from './device.ts';
import { FrameCache } from './frame-cache.ts';
import type { HeadFile, StoredHead, Writer } from './head.ts';
import { LogNames } from './names.ts';
import { observe } from './observe.ts';
import { Overlay } from './overlay.ts';
import { LogReader } from './reader.ts';
import { readLogVolume } from './volume-record.ts';
import { claim, LogWriter, type WriterOptions } from './writer.ts';

const TUNING = {
  // A recovery reads the header of each object after a checkpoint.
  checkpointEvery: 256,
  // 32 MiB that nothing refers to are worth a checkpoint, which frees them.
  muchGarbage: 8192,
  spaceTarget: 1.4,
} as const;
/** How often somebody else may be faster in changing the head. */
const MAX_RACES = 5;

/** Opens the volume that the configuration names. Owns `store`; disposes of it when this fails. */
export async function attachLog(
  store: ObjectStore,
  config: S3Config,
  ctx: OpenContext,
  policy: Partial<RetryPolicy> = {},
): Promise<LogDevice> {
  await using undo = new AsyncDisposableStack();
  undo.use(store);
  const life = new AbortController();
  const giveUp = () =>
    life.abort(new BlockError('ESHUTDOWN', 'the disk was stopped before the store answered'));
  ctx.signal.addEventListener('abort', giveUp, { once: true });
  if (ctx.signal.aborted) giveUp();
  undo.defer(() => {
    ctx.signal.removeEventListener('abort', giveUp);
    giveUp();
  });
  const session = startSession(store, config, ctx, life.signal);
  const running = session.with({
    ...RUN_POLICY,
    giveUpAfterMs: config.giveUpAfter === undefined ? undefined : config.giveUpAfter * 1000,
    attemptMs: config.requestTimeout * 1000,
    ...policy,
  });
  const parts = await explained(config, () =>
    ctx.readOnly
      ? openReadOnly(session, running, config)
      : openWriter(session, running, config, ctx, life, undo),
  );
  const owned = undo.move();
  return new LogDevice({ ...parts, close: () => owned.disposeAsync() });
}

type OpenParts = Omit<DeviceParts, 'close'>;

async function openReadOnly(session: Session, running: ObjectStore, config: S3Config): Promise<OpenParts> {
  const starting = session.with(ATTACH_POLICY);
  const names = new LogNames(config.prefix);
  const { head, recovered } = await observe(starting, names, config);
  const { map, table } = recovered;
  const frames = new FrameCache(running, config.readCache);
  return {
    size: head.head.size,
    reader: new LogReader(map, new Overlay(), table, frames),
    writer: undefined,
    meter: session.meter,
    grow: async (wanted) => {
      const { size } = (await readLogVolume(starting, names, { ...config, size: undefined })).head.head;
      if (wanted === undefined || wanted === size) return size;
      throw new GatewayError('volume.unsupported', `The volume at "${config.prefix}" is open read-only.`, {
        why: 'The disk is configured read-only.',
        fix: 'Let the gateway that owns the volume grow it, then let this disk see it: "blockgate resize" without a size.',
      });
    },
  };
}

async function openWriter(
  session: Session,
  running: ObjectStore,
  config: S3Config,
  ctx: OpenContext,
  life: AbortController,
  undo: AsyncDisposableStack,
): Promise<OpenParts> {
  const { logger } = ctx;
  const starting = session.with(ATTACH_POLICY);
  const names = new LogNames(config.prefix);
  const { record, head } = await readLogVolume(starting, names, config);
  const options: WriterOptions = {
    ...TUNING,
    starting,
    running,
    names,
    volume: record.uuid,
    writer: { disk: ctx.disk, since: new Date().toISOString(), process: ownIdentity() },
    nonce: randomBytes(16),
    writeBuffer: config.writeBuffer,
    logger,
    onFailed: (reason) => {
      if (reason.code === 'ESHUTDOWN') return;
      logger.error('the disk fails every request from now on', { why: reason.message });
      life.abort(reason);
    },
  };
  const file = await claimVolume(options, head, ctx);
  if (!(await conditionsHold(starting, names, file))) {
    const refused = new GatewayError(
      's3.no-conditional-writes',
      'The S3 store does not honour conditional writes.',
      {
        why: 'It stored an object although If-None-Match or If-Match forbade it.',
        fix: 'Use a store that does (AWS, Ceph 20, MinIO since 2024), or create the volume with "layout": "chunk" and "unsafeNoFence": true.',
      },
    );
    await giveBack(file, refused);
  }
  const frames = new FrameCache(running, config.readCache);
  const writer = await LogWriter.open(options, file, frames).catch((error: unknown) => giveBack(file, error));
  undo.defer(() => closeWriter(writer, options));
  const { map, table, replayed } = writer.recovered;
  logger.info('the volume is open', { epoch: writer.head.epoch, replayed });
  return {
    size: writer.head.size,
    reader: new LogReader(map, writer.overlay, table, frames),
    writer,
    meter: session.meter,
    grow: (wanted) => explained(config, () => grow(writer, config, wanted)),
  };
}

/** A writer for an operation on a volume that nobody has open: everything by way of one store. */
export async function openForOperation(
  store: ObjectStore,
  config: S3Config,
  ctx: OpenContext,
  writer: Writer,
  nonce: Buffer,
): Promise<LogWriter> {
  const names = new LogNames(config.prefix);
  const { record, head } = await readLogVolume(store, names, { ...config, size: undefined });
  const options: WriterOptions = {
    ...TUNING,
    starting: store,
    running: store,
    names,
    volume: record.uuid,
    writer,
    nonce,
    writeBuffer: config.writeBuffer,
    logger: ctx.logger,
    onFailed: () => undefined,
  };
  const file = await claimVolume(options, head, ctx);
  const frames = new FrameCache(store, config.readCache);
  return LogWriter.open(options, file, frames).catch((error: unknown) => giveBack(file, error));
}

async function claimVolume(options: WriterOptions, first: StoredHead, ctx: OpenContext): Promise<HeadFile> {
  let current = first;
  for (let race = 0; race < MAX_RACES; race++) {
    const { head } = current;
    if (head.state === 'owned' && head.writer !== null) refuseUnlessGone(head.writer, ctx);
    const file = await claim(options, current);
    if (file !== undefined) return file;
    const { names, starting } = options;
    const config = { bucket: '', prefix: names.root.slice(0, -1), size: undefined };
    current = (await readLogVolume(starting, names, config)).head;
  }
  throw new GatewayError('volume.owner-contended', 'Several gateways want this volume at the same time.', {
    why: `The object ${options.names.head} changed ${MAX_RACES} times while this one tried to write it.`,
    fix: 'Leave the volume to one of them.',
  });
}

/** The volume cannot be opened: it is nobody's again. We have written nothing. */
async function giveBack(file: HeadFile, error: unknown): Promise<never> {
  const { epoch } = file.content;
  const given = file.change(({ epochs }) => ({
    state: 'released',
    writer: null,
    epochs: epochs.filter((other) => other.epoch !== epoch),
  }));
  // Whoever comes next finds out that we are dead.
  await given.catch(() => undefined);
  throw error;
}

/** Whether the store keeps to conditions, tried on the head, which is ours and stays as it is. */
async function conditionsHold(store: ObjectStore, names: LogNames, file: HeadFile): Promise<boolean> {
  const body = Buffer.from(`${JSON.stringify(file.content, undefined, 1)}\n`);
  const wrong: readonly PutCondition[] = ['absent', { etag: '"00000000000000000000000000000000"' }];
  const refused = await Promise.all(
    wrong.map(async (condition) => {
      try {
        await store.put(names.head, body, { condition });
        return false;
      } catch (error) {
        if (isStoreError(error, 'precondition-failed')) return true;
        // 501 NotImplemented and the like: the store says so itself.
        if (isStoreError(error, 'rejected') || (isStoreError(error) && error.status === 501)) return false;
        throw error;
      }
    }),
  );
  return refused.every((held) => held);
}

async function grow(writer: LogWriter, config: S3Config, wanted: number | undefined): Promise<number> {
  const { size } = writer.head;
  if (wanted === undefined || wanted === size) return size;
  checkNewSize(config, size, wanted);
  await writer.change(() => ({ size: wanted }));
  return wanted;
}

/** Throws unless the volume can be made that large. */
export function checkNewSize({ prefix }: Pick<S3Config, 'prefix'>, size: number, wanted: number): void {
  if (wanted % 4096 !== 0 || wanted > 2 ** 53 - 4096) {
    throw new GatewayError('volume.bad-size', `A volume with the layout "log" cannot have ${wanted} bytes.`, {
      fix: 'Give a multiple of 4096.',
    });
  }
  if (wanted < size) {
    throw new GatewayError(
      'volume.cannot-shrink',
      `The volume at "${prefix}" has ${size} bytes and does not shrink to ${wanted}.`,
      { fix: 'Create a smaller volume and copy what you need.' },
    );
  }
}

async function closeWriter(writer: LogWriter, { logger, names }: WriterOptions): Promise<void> {
  const { appender } = writer;
  if (appender.failure === undefined && appender.bytes > 0)
    logger.error('changes that were never flushed successfully are lost', { bytes: appender.bytes });
  try {
    await writer.release();
  } catch (error) {
    logger.warn('the volume could not be released; a gateway elsewhere will have to take it over', {
      volume: names.root,
      reason: (error as Error).message,
    });
  } finally {
    appender.stop(new BlockError('ESHUTDOWN', 'the disk is closed'));
  }
}
