import { randomUUID } from 'node:crypto';
import type { RedisClients } from './clients.ts';
import { DEFAULT_CHUNK, type RedisConfig } from './config.ts';
import { corrupt, shapeMismatch, sizeMismatch, tooManyChunks, volumeNotFound } from './errors.ts';
import { descriptionKey, KeySpace } from './keys.ts';

/** Layout of the keys: see keys.ts. */
const VERSION = 1;
const CLUSTER_SHARDS = 64;
/** Each is a bit in our memory. */
const MAX_CHUNKS = 2 ** 31;
/** What owner keys hold before anybody has had the volume. */
const NOBODY = '0:';

/** The description of a volume. Sizes in bytes. */
export interface VolumeRecord {
  readonly uuid: string;
  readonly size: number;
  readonly chunkSize: number;
  readonly shards: number;
  readonly keys: KeySpace;
}

/** Undefined when there is none. Throws `volume.corrupt`. */
export async function readVolume(clients: RedisClients, volume: string): Promise<VolumeRecord | undefined> {
  const fields = await clients.reader.hgetall(descriptionKey(volume));
  if (Object.keys(fields).length === 0) return undefined;
  const [version, size, chunkSize, shards] = ['version', 'size', 'chunkSize', 'shards'].map((name) =>
    Number(fields[name]),
  ) as [number, number, number, number];
  if (version !== VERSION)
    throw corrupt(volume, `It has version ${fields['version']}; this blockgate knows ${VERSION}.`);
  if (![size, chunkSize, shards].every((value) => Number.isSafeInteger(value) && value > 0))
    throw corrupt(volume, `Its description ${descriptionKey(volume)} is damaged.`);
  return { uuid: fields['uuid'] ?? '', size, chunkSize, shards, keys: new KeySpace(volume, shards) };
}

/** The volume as `config` describes it; it has to be there. */
export async function findVolume(clients: RedisClients, config: RedisConfig): Promise<VolumeRecord> {
  const record = await readVolume(clients, config.volume);
  if (record === undefined) throw volumeNotFound(config.volume);
  const { volume, size, chunkSize, shards } = config;
  if (size !== undefined && size !== record.size) throw sizeMismatch(volume, record.size, size);
  if (chunkSize !== undefined && chunkSize !== record.chunkSize)
    throw shapeMismatch(volume, 'chunkSize', record.chunkSize, chunkSize);
  if (shards !== undefined && shards !== record.shards)
    throw shapeMismatch(volume, 'shards', record.shards, shards);
  return record;
}

/** False when there is one already, and nothing was changed. */
export async function createVolume(
  clients: RedisClients,
  config: RedisConfig,
  size: number,
): Promise<boolean> {
  const { volume, chunkSize = DEFAULT_CHUNK } = config;
  if (size / chunkSize > MAX_CHUNKS) throw tooManyChunks(size, chunkSize);
  const keys = new KeySpace(volume, config.shards ?? (clients.isCluster ? CLUSTER_SHARDS : 1));
  if ((await clients.reader.exists(keys.description)) === 1) return false;
  // They say that the shards are there, and come before the description. Those of a creation that was interrupted are the same.
  for (let shard = 0; shard < keys.shards; shard++) {
    await clients.writer.setnx(keys.presence(shard), '');
    await clients.writer.setnx(keys.owner(shard), NOBODY);
  }
  const fields = {
    version: VERSION,
    uuid: randomUUID(),
    size,
    chunkSize,
    shards: keys.shards,
    created: new Date().toISOString(),
  };
  return (await clients.writer.bgCreate(keys.description, ...Object.entries(fields).flat())) === 1;
}
