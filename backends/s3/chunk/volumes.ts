import { randomUUID } from 'node:crypto';
import { GatewayError, type PluginContext, type Progress, type VolumeInfo } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import { explained } from '../errors.ts';
import { describeHolder } from '../holder.ts';
import { startSession } from '../session.ts';
import { MAX_DELETE_KEYS, type ObjectStore } from '../store/object-store.ts';
import { ATTACH_POLICY } from '../store/retrying-store.ts';
import { isStoreError } from '../store/store-error.ts';
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

/** The volume operations on a store that is given; `index.ts` supplies it. */
interface Operation {
  readonly store: ObjectStore;
  readonly layout: Layout;
  readonly config: S3Config;
  readonly ctx: PluginContext;
}

/** Opens a session on `store`, which it disposes of, and explains what the store refuses. */
export async function withStore<T>(
  store: ObjectStore,
  config: S3Config,
  ctx: PluginContext,
  run: (operation: Operation) => Promise<T>,
): Promise<T> {
  using _store = store;
  const session = startSession(store, config, ctx, ctx.signal);
  return await explained(config, () =>
    run({ store: session.with(ATTACH_POLICY), layout: new Layout(config.prefix), config, ctx }),
  );
}

/**
 * volume.json first, in state `creating`, which makes one of several creators the first; then the pages of the map;
 * then state `ready`. Continues what was interrupted.
 */
export async function createVolume(operation: Operation): Promise<VolumeInfo> {
  const { store, layout, config } = operation;
  const { record, etag } = await beginCreation(operation);
  await writeEmptyPages(store, layout, record.uuid, 0, pageCount(chunkCount(record)));
  const ready: VolumeRecord = { ...record, state: 'ready' };
  try {
    await writeVolume(store, layout, ready, etag);
  } catch (error) {
    if (isStoreError(error, 'precondition-failed')) throw alreadyExists(config);
    throw error;
  }
  return describe(ready, config, { used: 0 });
}

export async function volumeInfo({ store, layout, config }: Operation): Promise<VolumeInfo> {
  const { record } = await readReadyVolume(store, layout, {
    ...config,
    size: undefined,
    chunkSize: undefined,
  });
  const map = await PresenceMap.load(store, layout, record.uuid, chunkCount(record));
  return describe(record, config, {
    used: map.count * record.chunkSize,
    owner: await currentOwner(store, layout, record),
  });
}

/** Volumes whose prefixes lie beside the configured one. */
export async function listVolumes({ store, config }: Operation): Promise<readonly VolumeInfo[]> {
  const parent = config.prefix.slice(0, config.prefix.lastIndexOf('/') + 1);
  const found: VolumeInfo[] = [];
  let continuation: string | undefined;
  do {
    const page = await store.list(parent, {
      delimiter: '/',
      ...(continuation === undefined ? {} : { continuation }),
    });
    const volumes = page.prefixes.map((prefix) =>
      describeAt(store, { ...config, prefix: prefix.slice(0, -1) }),
    );
    found.push(...(await Promise.all(volumes)).filter((info) => info !== undefined));
    continuation = page.next;
  } while (continuation !== undefined);
  return found;
}

/** Takes the volume for as long as it grows. */
export async function resizeVolume(operation: Operation, size: number): Promise<VolumeInfo> {
  const { store, layout, config } = operation;
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
  const { store, layout, config } = operation;
  const volume = await readVolume(store, layout);
  if (volume === undefined) {
    throw new GatewayError(
      'volume.not-found',
      `There is no volume at "${config.prefix}" in bucket "${config.bucket}".`,
    );
  }
  await own(operation, volume.record, options.force);
  const expected = await objectCount(store, layout, volume.record);
  if (volume.record.state !== 'deleting') {
    await writeVolume(store, layout, { ...volume.record, state: 'deleting' }, volume.etag);
  }
  let deleted = 0;
  let continuation: string | undefined;
  do {
    const page = await store.list(layout.root, continuation === undefined ? {} : { continuation });
    const keys = page.objects
      .map(({ key }) => key)
      .filter((key) => key !== layout.volume && key !== layout.owner);
    await deleteAll(store, keys);
    deleted += keys.length;
    options.progress(deleted, Math.max(deleted, expected));
    continuation = page.next;
  } while (continuation !== undefined);
  await deleteAll(store, [layout.owner]);
  await deleteAll(store, [layout.volume]);
}

async function beginCreation({ store, layout, config }: Operation): Promise<StoredVolume> {
  const existing = await readVolume(store, layout);
  if (existing) return resumed(existing, config);
  if (config.size === undefined) {
    throw new GatewayError('volume.size-missing', 'A volume cannot be created without a size.', {
      fix: 'Set "size" in the configuration of the backend, such as "10GiB".',
    });
  }
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
    if (isStoreError(error, 'precondition-failed')) throw alreadyExists(config);
    throw error;
  }
}

function resumed(existing: StoredVolume, config: S3Config): StoredVolume {
  const { state, size, chunkSize } = existing.record;
  if (state === 'ready') throw alreadyExists(config);
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

function alreadyExists({ prefix, bucket }: S3Config): GatewayError {
  return new GatewayError(
    'volume.exists',
    `There is a volume at "${prefix}" in bucket "${bucket}" already.`,
    {
      fix: 'Use it as it is, choose another "prefix", or delete it: blockgate volume delete <disk>',
    },
  );
}

function own(
  { store, layout, config, ctx }: Operation,
  { uuid }: VolumeRecord,
  force: boolean,
): Promise<Ownership> {
  return Ownership.acquire(store, layout, {
    disk: ctx.disk,
    volume: uuid,
    takeOver: force,
    unfenced: config.unsafeNoFence,
    logger: ctx.logger,
  });
}

async function deleteAll(store: ObjectStore, keys: readonly string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += MAX_DELETE_KEYS) {
    const failures = await store.deleteMany(keys.slice(at, at + MAX_DELETE_KEYS));
    if (failures.length === 0) continue;
    const { key, reason } = failures[0]!;
    throw new GatewayError('volume.delete-incomplete', `${failures.length} objects could not be deleted.`, {
      why: `${key}: ${reason}`,
      fix: 'Allow s3:DeleteObject under the prefix and run the command again; it continues where it stopped.',
    });
  }
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

/** The volume at another prefix; undefined when there is none, or nothing that we can read. */
async function describeAt(store: ObjectStore, config: S3Config): Promise<VolumeInfo | undefined> {
  const layout = new Layout(config.prefix);
  try {
    const volume = await readVolume(store, layout);
    if (volume === undefined) return undefined;
    return describe(volume.record, config, { owner: await currentOwner(store, layout, volume.record) });
  } catch (error) {
    if (GatewayError.is(error)) return undefined;
    throw error;
  }
}

function describe(
  record: VolumeRecord,
  config: S3Config,
  { used, owner }: { readonly used?: number; readonly owner?: string | undefined },
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
      crash: 'flush-consistent',
      fence: config.unsafeNoFence ? 'none' : 'advisory',
    },
  };
}
