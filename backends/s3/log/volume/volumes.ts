import { randomUUID } from 'node:crypto';
import { GatewayError, type PluginContext, type Progress, type VolumeInfo } from '../../../../core/plugin.ts';
import type { S3Config } from '../../config.ts';
import type { EncryptionConfig } from '../../encryption-config.ts';
import { describeHolder, refuseUnlessGone } from '../../holder.ts';
import { findImage, type Image } from '../../image/find-image.ts';
import { deleteAll, type Operation } from '../../operation.ts';
import { listPages } from '../../store/list-pages.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { pricePerMonth } from '../../store/prices.ts';
import { isStoreError } from '../../store/store-error.ts';
import { checkNewSize, sizeMissing, volumeExists, volumeNotFound } from '../../volume-errors.ts';
import { CIPHER, type VolumeKey } from '../encryption/volume-key.ts';
import { createKeys, notEncrypted, replaceKeys, unlockVolume } from '../encryption/volume-keys.ts';
import {
  firstHead,
  type Head,
  holderOf,
  isBeingDeleted,
  readHead,
  type StoredHead,
  writeHead,
} from '../head.ts';
import { checkImage, imageOf } from '../image/base-image.ts';
import { firstCheckpoint } from '../image/first-checkpoint.ts';
import { judge } from '../journal/verdict.ts';
import { LogNames } from '../names.ts';
import { BLOCK } from '../object-header.ts';
import { observe } from '../observe.ts';
import { compressionRatio } from '../usage.ts';
import { refuseWithClones } from './clones.ts';
import { summarizePoints } from './volume-points.ts';
import {
  featuresOf,
  LOG_FORMAT,
  LOG_VERSION,
  type LogRecord,
  readLogVolume,
  readRecord,
  writeRecord,
} from './volume-record.ts';

/** volume.json first, which makes one of several creators the first; then the head. Continues what was interrupted. */
export async function createVolume({ store, config, ctx }: Operation): Promise<VolumeInfo> {
  const names = new LogNames(config.prefix);
  const record = (await readRecord(store, names)) ?? (await begin(store, names, config));
  if (config.size !== undefined && config.size !== record.size) {
    if ((await readHead(store, names)) !== undefined) throw volumeExists(config);
    throw new GatewayError('volume.unfinished', `There is an incomplete volume at "${config.prefix}".`, {
      why: `An earlier "volume create" for ${record.size} bytes was interrupted.`,
      fix: 'Remove it first: blockgate volume delete <disk>',
    });
  }
  if (record.encryption !== undefined && config.encryption !== undefined) {
    if ((await readHead(store, names)) !== undefined) throw volumeExists(config);
    await createKeys(store, names, config.encryption, ctx);
  }
  // Whoever began it may have had another key, or another image.
  const key = await unlockVolume(store, names, record, config, ctx);
  const image = await checkImage(store, record, {}, config);
  // Names of objects count from the time of creation: no writer of a volume that was deleted meets them.
  const epoch = Date.now();
  const beginning =
    image === undefined ? { epoch } : await storeFirstCheckpoint(store, names, epoch, image, key);
  const head: Head = { ...firstHead(record.uuid, record.size), ...beginning };
  if (typeof (await writeHead(store, names, head, undefined)) !== 'string') throw volumeExists(config);
  return describe(record, head, config, { used: image === undefined ? 0 : roundUp(image.size) });
}

/** Of that epoch, or of the next that has none: an attempt that was interrupted may have left one. */
async function storeFirstCheckpoint(
  store: ObjectStore,
  names: LogNames,
  from: number,
  { size }: Image,
  key: VolumeKey | undefined,
): Promise<Pick<Head, 'epoch' | 'checkpoint'>> {
  for (let epoch = from; ; epoch++) {
    const { ref, body } = firstCheckpoint(names, epoch, size, key);
    try {
      await store.put(ref.key, body, { condition: 'absent' });
      return { epoch, checkpoint: ref };
    } catch (error) {
      if (!isStoreError(error, 'precondition-failed')) throw error;
    }
  }
}

/** What an image of so many bytes takes of a disk. */
const roundUp = (size: number): number => Math.ceil(size / BLOCK) * BLOCK;

export async function volumeInfo({ store, config, ctx }: Operation): Promise<VolumeInfo> {
  const names = new LogNames(config.prefix);
  const { record, head, recovered } = await observe(store, names, { ...config, size: undefined }, ctx);
  const { map, usage } = recovered.stored;
  // How much is in use is known of pages that nobody has written to since.
  await map.resolve(Number.POSITIVE_INFINITY);
  const isClone = record.parent !== undefined && head.head.isFlat !== true;
  if (isClone) await recovered.stored.knowObjects();
  const { stored } = usage;
  const points = summarizePoints(head.head);
  const used = map.used * BLOCK;
  return describe(record, head.head, config, {
    used,
    stored,
    amplification: used === 0 ? 1 : Number(((usage.blocks * BLOCK) / used).toFixed(2)),
    'amplification at most': config.spaceAmplification,
    'compression ratio': compressionRatio(usage),
    'objects to replay': recovered.replayed,
    ...(isClone && { 'bytes of the parent': BLOCK * recovered.stored.foreignBlocks }),
    ...(head.head.points !== undefined && {
      points: points.points,
      'oldest point': points.oldest ?? 'none',
      'newest point': points.newest ?? 'none',
      'held by points': points.bytes,
    }),
    'storage, $ per month': pricePerMonth(stored + points.bytes, config),
  });
}

/** The volume as its description says, without reading its log. */
export async function describeVolume({ store, config }: Operation): Promise<VolumeInfo | undefined> {
  const names = new LogNames(config.prefix);
  const { record, head } = await readLogVolume(store, names, { ...config, size: undefined });
  return describe(record, head.head, config, {});
}

export async function resizeVolume({ store, config, ctx }: Operation, size: number): Promise<VolumeInfo> {
  const names = new LogNames(config.prefix);
  const { record, head } = await readLogVolume(store, names, { ...config, size: undefined });
  refuseIfOwned(head.head, ctx, false);
  checkNewSize(config, head.head.size, size, BLOCK);
  const grown = await changeHead(store, names, head, { size });
  return describe(record, grown.head, config, {});
}

/** Also while a disk has the volume open: that has its data key already. Throws `volume.not-encrypted`, or as `unlockVolume`. */
export async function rekeyVolume(
  { store, config, ctx }: Operation,
  encryption: EncryptionConfig,
): Promise<VolumeInfo> {
  const names = new LogNames(config.prefix);
  const { record, head } = await readLogVolume(store, names, { ...config, size: undefined });
  if (record.encryption === undefined) throw notEncrypted(config.prefix);
  await replaceKeys(store, names, config, encryption, ctx);
  return describe(record, head.head, config, {});
}

/**
 * Marks the volume first: nobody opens a half of it, and whoever clones it from here on sees the mark; whoever has cloned
 * it before has left a ref. What describes it is removed last.
 */
export async function deleteVolume(
  { store, config, ctx }: Operation,
  options: { readonly force: boolean; readonly progress: Progress },
): Promise<void> {
  const names = new LogNames(config.prefix);
  const [record, head] = await Promise.all([readRecord(store, names), readHead(store, names)]);
  if (record === undefined) throw volumeNotFound(config);
  if (head !== undefined && head.head.state !== 'removing') {
    refuseIfOwned(head.head, ctx, options.force);
    const marked = await changeHead(store, names, head, { state: 'deleting', writer: null });
    try {
      await refuseWithClones(store, names, undefined);
    } catch (error) {
      await changeHead(store, names, marked, { state: 'released' });
      throw error;
    }
    // There is no way back from here.
    await changeHead(store, names, marked, { state: 'removing' });
  }
  let deleted = 0;
  for await (const page of listPages(store, names.root)) {
    const keys = page.objects
      .map(({ key }) => key)
      .filter((key) => key !== names.volume && key !== names.head);
    await deleteAll(store, keys);
    deleted += keys.length;
    options.progress(deleted, page.next === undefined ? deleted : deleted + 1000);
  }
  const { parent, uuid } = record;
  if (parent !== undefined) await deleteAll(store, [new LogNames(parent.prefix).refs + uuid]);
  await deleteAll(store, [names.head]);
  await deleteAll(store, [names.volume]);
}

async function begin(store: ObjectStore, names: LogNames, config: S3Config): Promise<LogRecord> {
  const image =
    config.image === undefined
      ? undefined
      : await findImage(store, { ...config, prefix: config.image }, 'image');
  const size = config.size ?? (image && roundUp(image.size));
  if (size === undefined) throw sizeMissing();
  checkNewSize(config, 0, size, BLOCK);
  if (image !== undefined && size < image.size) throw imageTooLarge(config, image, size);
  const compression = config.compression ?? 'none';
  const encryption = config.encryption && ({ encryption: CIPHER } as const);
  const record: LogRecord = {
    format: LOG_FORMAT,
    version: LOG_VERSION,
    uuid: randomUUID(),
    blockSize: BLOCK,
    size,
    createdAt: new Date().toISOString(),
    compression,
    ...encryption,
    ...(image && { image }),
    requiredFeatures: featuresOf({ compression, ...encryption, ...(image && { image }) }),
  };
  try {
    await writeRecord(store, names, record);
    return record;
  } catch (error) {
    if (isStoreError(error, 'precondition-failed')) throw volumeExists(config);
    throw error;
  }
}

function imageTooLarge({ prefix }: S3Config, { key, size: bytes }: Image, size: number): GatewayError {
  return new GatewayError(
    'volume.bad-size',
    `The volume at "${prefix}" is to have ${size} bytes, and the image "${key}" has ${bytes}.`,
    { why: 'The end of the image would be cut off.', fix: 'Set a larger "size", or leave it out.' },
  );
}

export function refuseIfOwned(head: Head, { disk, logger }: PluginContext, takeOver: boolean): void {
  const holder = holderOf(head);
  if (holder !== undefined) refuseUnlessGone(holder, { takeOver, disk, logger });
  judge(head, undefined, { takeOver, disk });
}

export async function changeHead(
  store: ObjectStore,
  names: LogNames,
  { head, etag }: StoredHead,
  changes: Partial<Head>,
): Promise<StoredHead> {
  // A nonce of its own: this is no change of the last writer's.
  const changed: Head = { ...head, ...changes, version: head.version + 1, nonce: randomUUID() };
  const written = await writeHead(store, names, changed, etag);
  if (typeof written === 'string') return { head: changed, etag: written };
  throw new GatewayError(
    'volume.owner-contended',
    'The volume was changed by somebody else at the same time.',
    {
      why: `The object ${names.head} changed while this command wanted to write it.`,
      fix: 'Run the command again.',
    },
  );
}

export function describe(
  record: LogRecord,
  head: Head,
  { prefix, bucket }: S3Config,
  { used, ...more }: { readonly used?: number } & Readonly<Record<string, number | string>>,
): VolumeInfo {
  const { uuid, createdAt, compression, encryption, parent } = record;
  const { size, epoch, snapshots, journal } = head;
  const image = imageOf(record, head);
  const holder = holderOf(head);
  return {
    name: prefix,
    size,
    ...(used === undefined ? {} : { used }),
    ...(holder === undefined ? {} : { owner: describeHolder(holder) }),
    details: {
      bucket,
      uuid,
      layout: 'log',
      compression,
      encryption: encryption ?? 'none',
      state: isBeingDeleted(head) ? 'deleting' : 'ready',
      createdAt,
      epoch,
      snapshots: snapshots.length,
      ...(journal == null ? {} : { journal: `${journal.path} on ${journal.host}` }),
      ...(parent === undefined || head.isFlat === true
        ? {}
        : { clone: `of "${parent.snapshot}" of ${parent.prefix}` }),
      ...(image && { image: `${image.key}, ETag ${image.etag}` }),
      ...more,
      crash: 'prefix-consistent',
      fence: 'store-enforced',
    },
  };
}
