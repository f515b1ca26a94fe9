import { randomUUID } from 'node:crypto';
import { GatewayError, type Progress, type VolumeInfo } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import { describeHolder } from '../holder.ts';
import { deleteAll, type Operation } from '../operation.ts';
import { listPages } from '../store/list-pages.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { pricePerMonth } from '../store/prices.ts';
import { isStoreError } from '../store/store-error.ts';
import { sizeMissing, volumeExists, volumeNotFound } from '../volume-errors.ts';
import { growVolume, writeEmptyPages } from './grow.ts';
import { DEFAULT_CHUNK_SIZE, Layout } from './layout.ts';
import { Ownership, readOwner } from './owner.ts';
import { PresenceMap, pageCount } from './presence-map.ts';
import {
  chunkCount,
  readReadyVolume,
  readVolume,
  type StoredVolume,
  VOLUME_FORMAT,
  VOLUME_VERSION,
  type VolumeRecord,
  writeVolume,
} from './volume-record.ts';

/**
 * volume.json first, in state `creating`, which makes one of several creators the first; then the pages of the map;
 * then state `ready`. Continues what was interrupted.
 */
export async function createVolume(operation: Operation): Promise<VolumeInfo> {
  const { store, config } = operation;
  const layout = new Layout(config.prefix);
  const { record, etag } = await beginCreation(operation);
  await writeEmptyPages(store, layout, record.uuid, 0, pageCount(chunkCount(record)));
  const ready: VolumeRecord = { ...record, state: 'ready' };
  try {
    await writeVolume(store, layout, ready, etag);
  } catch (error) {
    if (isStoreError(error, 'precondition-failed')) throw volumeExists(config);
    throw error;
  }
  return describe(ready, config, { used: 0 });
}

export async function volumeInfo({ store, config }: Operation): Promise<VolumeInfo> {
  const layout = new Layout(config.prefix);
  const { record } = await readReadyVolume(store, layout, {
    ...config,
    size: undefined,
    chunkSize: undefined,
  });
  const map = await PresenceMap.load(store, layout, record.uuid, chunkCount(record));
  const used = map.count * record.chunkSize;
  return describe(record, config, {
    used,
    cost: pricePerMonth(used, config),
    owner: await currentOwner(store, layout, record),
  });
}

/** Takes the volume for as long as it grows. */
export async function resizeVolume(operation: Operation, size: number): Promise<VolumeInfo> {
  const { store, config } = operation;
  const layout = new Layout(config.prefix);
  const { record } = await readReadyVolume(store, layout, { ...config, size: undefined });
  const ownership = await own(operation, record, false);
  try {
    return describe(await growVolume(store, layout, config, size), config, {});
  } finally {
    await ownership.release({ leftovers: ownership.uncleanStart });
  }
}

/**
 * Marks the volume first, so that nobody opens a half of it, and removes volume.json last, so that an interrupted
 * deletion can be repeated.
 */
export async function deleteVolume(
  operation: Operation,
  options: { readonly force: boolean; readonly progress: Progress },
): Promise<void> {
  const { store, config } = operation;
  const layout = new Layout(config.prefix);
  const volume = await readVolume(store, layout);
  if (volume === undefined) throw volumeNotFound(config);
  await own(operation, volume.record, options.force);
  const expected = await objectCount(store, layout, volume.record);
  if (volume.record.state !== 'deleting') {
    await writeVolume(store, layout, { ...volume.record, state: 'deleting' }, volume.etag);
  }
  let deleted = 0;
  for await (const page of listPages(store, layout.root)) {
    const keys = page.objects
      .map(({ key }) => key)
      .filter((key) => key !== layout.volume && key !== layout.owner);
    await deleteAll(store, keys);
    deleted += keys.length;
    options.progress(deleted, Math.max(deleted, expected));
  }
  await deleteAll(store, [layout.owner]);
  await deleteAll(store, [layout.volume]);
}

async function beginCreation({ store, config }: Operation): Promise<StoredVolume> {
  const layout = new Layout(config.prefix);
  const existing = await readVolume(store, layout);
  if (existing) return resumed(existing, config);
  if (config.size === undefined) throw sizeMissing();
  const record: VolumeRecord = {
    format: VOLUME_FORMAT,
    version: VOLUME_VERSION,
    uuid: randomUUID(),
    size: config.size,
    chunkSize: config.chunkSize ?? DEFAULT_CHUNK_SIZE,
    state: 'creating',
    createdAt: new Date().toISOString(),
    requiredFeatures: [],
  };
  try {
    return { record, etag: await writeVolume(store, layout, record, undefined) };
  } catch (error) {
    if (isStoreError(error, 'precondition-failed')) throw volumeExists(config);
    throw error;
  }
}

function resumed(existing: StoredVolume, config: S3Config): StoredVolume {
  const { state, size, chunkSize } = existing.record;
  if (state === 'ready') throw volumeExists(config);
  const differs =
    (config.size !== undefined && config.size !== size) ||
    (config.chunkSize !== undefined && config.chunkSize !== chunkSize);
  if (state === 'creating' && !differs) return existing;
  throw new GatewayError('volume.unfinished', `There is an incomplete volume at "${config.prefix}".`, {
    why:
      state === 'creating'
        ? `An earlier "volume create" for ${size} bytes in chunks of ${chunkSize} was interrupted.`
        : 'An earlier "volume delete" was interrupted.',
    fix: 'Remove it first: blockgate volume delete <disk>',
  });
}

function own({ store, config, ctx }: Operation, { uuid }: VolumeRecord, force: boolean): Promise<Ownership> {
  return Ownership.acquire(store, new Layout(config.prefix), {
    disk: ctx.disk,
    volume: uuid,
    takeOver: force,
    unfenced: config.unsafeNoFence,
    logger: ctx.logger,
  });
}

/** About how many objects a deletion has before it; only for the progress bar. */
async function objectCount(store: ObjectStore, layout: Layout, record: VolumeRecord): Promise<number> {
  const pages = pageCount(chunkCount(record));
  if (record.state !== 'ready') return pages;
  try {
    return pages + (await PresenceMap.load(store, layout, record.uuid, chunkCount(record))).count;
  } catch {
    // A volume whose map is damaged can still be deleted.
    return pages;
  }
}

async function currentOwner(
  store: ObjectStore,
  layout: Layout,
  { uuid }: VolumeRecord,
): Promise<string | undefined> {
  const owner = await readOwner(store, layout);
  if (owner?.record.state !== 'owned' || owner.record.volume !== uuid) return undefined;
  return describeHolder(owner.record);
}

/** The volume as its description says, without looking further. */
export async function describeVolume({ store, config }: Operation): Promise<VolumeInfo | undefined> {
  const layout = new Layout(config.prefix);
  const volume = await readVolume(store, layout);
  if (volume === undefined) return undefined;
  return describe(volume.record, config, { owner: await currentOwner(store, layout, volume.record) });
}

function describe(
  record: VolumeRecord,
  config: S3Config,
  {
    used,
    owner,
    cost,
  }: { readonly used?: number; readonly owner?: string | undefined; readonly cost?: number },
): VolumeInfo {
  return {
    name: config.prefix,
    size: record.size,
    ...(used === undefined ? {} : { used }),
    ...(owner === undefined ? {} : { owner }),
    details: {
      bucket: config.bucket,
      uuid: record.uuid,
      layout: 'chunk',
      chunkSize: record.chunkSize,
      state: record.state,
      createdAt: record.createdAt,
      ...(cost === undefined ? {} : { 'storage, $ per month': cost }),
      crash: 'flush-consistent',
      fence: config.unsafeNoFence ? 'none' : 'advisory',
    },
  };
}
