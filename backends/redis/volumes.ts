import {
  GatewayError,
  type PluginContext,
  type Progress,
  settleAll,
  type VolumeInfo,
} from '../../core/plugin.ts';
import { RedisClients } from './clients.ts';
import type { RedisConfig } from './config.ts';
import { cannotShrink, volumeExists, volumeNotFound, volumeOwned } from './errors.ts';
import { ANY_DESCRIPTION, type KeySpace, volumeOfKey } from './keys.ts';
import { explained } from './open.ts';
import { describeHolder } from './ownership.ts';
import { findPresence } from './presence.ts';
import { createVolume as create, findVolume, readVolume, type VolumeRecord } from './volume-record.ts';

/** Chunks that are deleted at a time. */
const DELETE_AT_A_TIME = 1000;

export async function createVolume(config: RedisConfig, ctx: PluginContext): Promise<VolumeInfo> {
  return await connected(config, ctx, async (clients) => {
    const { size } = config;
    if (size === undefined)
      throw new GatewayError('volume.size-missing', 'A volume cannot be created without a size.', {
        fix: 'Give the backend a "size".',
      });
    if (!(await create(clients, config, size))) throw volumeExists(config.volume);
    return await describe(clients, await findVolume(clients, config));
  });
}

export async function volumeInfo(config: RedisConfig, ctx: PluginContext): Promise<VolumeInfo> {
  return await connected(config, ctx, async (clients) => {
    const record = await readVolume(clients, config.volume);
    if (record === undefined) throw volumeNotFound(config.volume);
    return await describe(clients, record);
  });
}

/** Every volume of the server or cluster. */
export async function listVolumes(config: RedisConfig, ctx: PluginContext): Promise<readonly VolumeInfo[]> {
  return await connected(config, ctx, async (clients) => {
    const names = new Set<string>();
    for (const master of clients.masters()) {
      for await (const page of master.scanStream({ match: ANY_DESCRIPTION, count: 1000 }))
        for (const key of page as string[]) names.add(volumeOfKey(key) ?? key);
    }
    const found: VolumeInfo[] = [];
    for (const name of [...names].sort()) {
      const record = await readVolume(clients, name);
      if (record !== undefined) found.push(await describe(clients, record));
    }
    return found;
  });
}

export async function resizeVolume(
  config: RedisConfig,
  size: number,
  ctx: PluginContext,
): Promise<VolumeInfo> {
  return await connected(config, ctx, async (clients) => {
    const record = await readVolume(clients, config.volume);
    if (record === undefined) throw volumeNotFound(config.volume);
    if (size < record.size) throw cannotShrink(config.volume, record.size, size);
    await clients.writer.hset(record.keys.description, 'size', size);
    return await describe(clients, { ...record, size });
  });
}

/** The owner keys go first, which ends whoever has the volume; the description last, so that it can be continued. */
export async function deleteVolume(
  config: RedisConfig,
  { force, progress }: { readonly force: boolean; readonly progress: Progress },
  ctx: PluginContext,
): Promise<void> {
  await connected(config, ctx, async (clients) => {
    const record = await readVolume(clients, config.volume);
    if (record === undefined) throw volumeNotFound(config.volume);
    const { keys } = record;
    const holder = await describeHolder(clients, keys);
    if (holder !== undefined && !force) throw volumeOwned(config.volume, holder);
    const { present, missing } = await findPresence(clients, record);
    for (let shard = 0; shard < keys.shards; shard++) await clients.writer.del(keys.owner(shard));
    const total = present.count;
    let done = 0;
    for (let chunk = present.next(0); chunk >= 0; ) {
      const deletions: Promise<number>[] = [];
      for (; chunk >= 0 && deletions.length < DELETE_AT_A_TIME; chunk = present.next(chunk + 1))
        deletions.push(clients.writer.unlink(keys.chunk(chunk)));
      await settleAll(deletions);
      done += deletions.length;
      progress(done, total);
    }
    // Deleted before by a deletion that was interrupted, or lost.
    if (missing !== undefined) await unlinkChunks(clients, keys);
    for (let shard = 0; shard < keys.shards; shard++) await clients.writer.del(keys.presence(shard));
    await clients.writer.del(keys.holder, keys.description);
  });
}

/** What a new volume of that name would find in its chunks. */
async function unlinkChunks(clients: RedisClients, keys: KeySpace): Promise<void> {
  for (const master of clients.masters())
    for await (const page of master.scanStream({ match: keys.anyChunk, count: DELETE_AT_A_TIME }))
      await settleAll((page as string[]).map((key) => clients.writer.unlink(key)));
}

async function connected<T>(
  config: RedisConfig,
  ctx: PluginContext,
  run: (clients: RedisClients) => Promise<T>,
): Promise<T> {
  using clients = await RedisClients.connect(config, ctx);
  return await explained(clients, () => run(clients));
}

async function describe(clients: RedisClients, record: VolumeRecord): Promise<VolumeInfo> {
  const { keys, size, chunkSize, shards } = record;
  let chunks = 0;
  for (let shard = 0; shard < shards; shard++) chunks += await clients.reader.bitcount(keys.presence(shard));
  const owner = await describeHolder(clients, keys);
  return {
    name: keys.volume,
    size,
    // Chunks that were written in part take less.
    used: chunks * chunkSize,
    ...(owner !== undefined && { owner }),
    details: { 'chunk size': chunkSize, shards },
  };
}
