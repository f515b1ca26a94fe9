import { Bitmap } from '../../core/plugin.ts';
import type { RedisClients } from './clients.ts';
import { corrupt } from './errors.ts';
import type { VolumeRecord } from './volume-record.ts';

/** Which chunks exist, as the servers have it. Throws `volume.corrupt` when they do not know any more. */
export async function loadPresence(clients: RedisClients, volume: VolumeRecord): Promise<Bitmap> {
  const { present, missing } = await findPresence(clients, volume);
  if (missing !== undefined)
    throw corrupt(
      volume.keys.volume,
      `The key ${missing} is missing: nobody knows what there was in the volume.`,
    );
  return present;
}

/** As far as the servers know it. `missing`: a key that is not there, and should be. */
export async function findPresence(
  clients: RedisClients,
  { keys, size, chunkSize }: VolumeRecord,
): Promise<{ readonly present: Bitmap; readonly missing: string | undefined }> {
  const present = new Bitmap(Math.ceil(size / chunkSize));
  let missing: string | undefined;
  for (let shard = 0; shard < keys.shards; shard++) {
    const key = keys.presence(shard);
    const bytes = await clients.reader.getBuffer(key);
    if (bytes === null) missing ??= key;
    else
      for (const [index, byte] of bytes.entries()) {
        if (byte === 0) continue;
        // Redis counts the bits of a byte from the highest.
        for (let bit = 0; bit < 8; bit++)
          if ((byte & (0x80 >> bit)) !== 0) present.set(keys.chunkAt(shard, index * 8 + bit));
      }
  }
  return { present, missing };
}
