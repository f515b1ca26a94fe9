import { Bitmap } from '../../core/plugin.ts';
import type { RedisClients } from './clients.ts';
import type { VolumeRecord } from './volume-record.ts';

/** Which chunks exist, as the servers have it. */
export async function loadPresence(clients: RedisClients, volume: VolumeRecord): Promise<Bitmap> {
  const { keys, size, chunkSize } = volume;
  const present = new Bitmap(Math.ceil(size / chunkSize));
  for (let shard = 0; shard < keys.shards; shard++) {
    const bytes = await clients.reader.getBuffer(keys.presence(shard));
    for (const [index, byte] of (bytes ?? Buffer.alloc(0)).entries()) {
      if (byte === 0) continue;
      // Redis counts the bits of a byte from the highest.
      for (let bit = 0; bit < 8; bit++)
        if ((byte & (0x80 >> bit)) !== 0) present.set(keys.chunkAt(shard, index * 8 + bit));
    }
  }
  return present;
}
