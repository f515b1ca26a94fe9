import type { RedisClients } from './clients.ts';
import { unsafe } from './errors.ts';
import type { KeySpace } from './keys.ts';

/** Throws `redis.unsafe-server` when the server is about to delete what a volume cannot be without. */
export async function assertLasting(clients: RedisClients, keys: KeySpace): Promise<void> {
  const needed = [keys.description];
  for (let shard = 0; shard < keys.shards; shard++) needed.push(keys.owner(shard), keys.presence(shard));
  // Negative: it does not expire, or is not there.
  const left = await Promise.all(needed.map((key) => clients.reader.pttl(key)));
  const key = needed.find((_, index) => left[index]! >= 0);
  if (key === undefined) return;
  throw unsafe(
    clients.where,
    `The key ${key} of the volume expires: somebody has set a time for it.`,
    `Run PERSIST ${key} on the server, and see to it that nobody sets one for keys that begin with "bg:".`,
  );
}
