import { randomBytes } from 'node:crypto';
import { type BlockError, GatewayError, type OpenContext, ownIdentity } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import { refuseUnlessGone } from '../holder.ts';
import { lacksConditions, refuses, WRONG_CONDITIONS } from '../store/conditions.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { pricesOf } from '../store/prices.ts';
import type { StoreError } from '../store/store-error.ts';
import { noConditionalWrites } from '../volume-errors.ts';
import type { FrameCache } from './cache/frame-cache.ts';
import type { FrameCodec } from './frames/frame-codec.ts';
import { encodeHead, type HeadFile, holderOf, readHead, type StoredHead } from './head.ts';
import type { JournalFile } from './journal/journal-file.ts';
import { judge } from './journal/verdict.ts';
import { mapPages } from './map/block-map.ts';
import { LogNames } from './names.ts';
import type { LogRecord } from './volume/volume-record.ts';
import { claim, LogWriter, type WriterOptions } from './writer.ts';

const TUNING = {
  // A recovery reads the header of each object after a checkpoint.
  checkpointEvery: 256,
  // 32 MiB that nothing refers to are worth a checkpoint, which frees them.
  muchGarbage: 8192,
} as const;
/** What nobody flushes is stored after so long all the same. Milliseconds. */
const MAX_AGE_MS = 2000;
/** How often somebody else may be faster in changing the head. */
const MAX_RACES = 5;

export interface Taking {
  readonly stores: Pick<WriterOptions, 'starting' | 'running'>;
  readonly volume: { readonly record: LogRecord; readonly head: StoredHead };
  readonly config: S3Config;
  readonly ctx: Pick<OpenContext, 'disk' | 'logger' | 'takeOver'>;
  readonly codec: FrameCodec;
  readonly frames: FrameCache;
  /** What is in the journal of this disk, if it has one. */
  readonly journal?: JournalFile | undefined;
  /** For how long points are kept, of a disk. Milliseconds. */
  readonly retention?: number;
  /** The writer cannot go on. */
  readonly onFailed: (reason: BlockError) => void;
}

/**
 * Makes the volume ours, fixes where the log of whoever had it before ends, and opens it. Leaves it as nobody's when that
 * does not succeed. Throws `volume.owned`, `volume.owner-contended`, `volume.corrupt` or `s3.no-conditional-writes`.
 */
export async function takeVolume({
  stores,
  volume,
  config,
  ctx,
  codec,
  frames,
  journal,
  retention,
  onFailed,
}: Taking): Promise<LogWriter> {
  const options: WriterOptions = {
    ...TUNING,
    ...stores,
    names: new LogNames(config.prefix),
    volume: volume.record.uuid,
    writer: { disk: ctx.disk, since: new Date().toISOString(), process: ownIdentity() },
    nonce: randomBytes(16),
    codec,
    writeBuffer: config.writeBuffer,
    mapPages: mapPages(config),
    maxAgeMs: Math.min(MAX_AGE_MS, (config.maxLagMs ?? Number.POSITIVE_INFINITY) / 2),
    needsJournal: (head) => judge(head, journal, ctx) === 'replay',
    spaceTarget: config.spaceAmplification,
    prices: pricesOf(config),
    retention,
    clock: Date.now,
    logger: ctx.logger,
    onFailed,
  };
  return await openClaimed(options, await claimHead(options, volume.head, ctx), frames);
}

/** The head, which names us from here on. Throws as `takeVolume`. */
export async function claimHead(
  options: WriterOptions,
  first: StoredHead,
  ctx: Taking['ctx'],
): Promise<HeadFile> {
  const { starting, names } = options;
  let current = first;
  for (let race = 0; race < MAX_RACES; race++) {
    const holder = holderOf(current.head);
    if (holder !== undefined) refuseUnlessGone(holder, ctx);
    const file = await claim(options, current).catch((error: unknown) => {
      throw lacksConditions(error) ? noConditions(error) : error;
    });
    if (file !== undefined) return file;
    const now = await readHead(starting, names);
    // Ceph before 20 refuses the right ETag when it is quoted, as HTTP demands.
    if (now === undefined || now.etag === current.etag) throw noConditions();
    current = now;
  }
  throw new GatewayError('volume.owner-contended', 'Several gateways want this volume at the same time.', {
    why: `The object ${names.head} changed ${MAX_RACES} times while this one tried to write it.`,
    fix: 'Leave the volume to one of them.',
  });
}

/** Opens the volume whose head is ours, or leaves it as nobody's. Throws as `takeVolume`. */
export async function openClaimed(
  options: WriterOptions,
  file: HeadFile,
  frames: FrameCache,
): Promise<LogWriter> {
  try {
    if (!(await conditionsHold(options.starting, options.names, file))) throw noConditions();
    return await LogWriter.open(options, file, frames);
  } catch (error) {
    await giveBack(file);
    throw error;
  }
}

const noConditions = (refusal?: StoreError): GatewayError =>
  noConditionalWrites('create the volume with "layout": "chunk" and "unsafeNoFence": true', refusal);

/** Whether the store keeps to conditions, tried on the head, which is ours and stays as it is. */
async function conditionsHold(store: ObjectStore, names: LogNames, file: HeadFile): Promise<boolean> {
  const body = encodeHead(file.content);
  const refused = await Promise.all(
    WRONG_CONDITIONS.map((condition) => refuses(store, names.head, body, condition)),
  );
  return refused.every((held) => held);
}

/** It is nobody's again. We have written nothing. */
async function giveBack(file: HeadFile): Promise<void> {
  const { epoch } = file.content;
  const given = file.change(({ epochs }) => ({
    state: 'released',
    writer: null,
    epochs: epochs.filter((other) => other.epoch !== epoch),
  }));
  // Whoever comes next finds out that we are dead.
  await given.catch(() => undefined);
}
