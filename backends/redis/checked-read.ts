import type { RedisClients } from './clients.ts';
import type { KeySpace } from './keys.ts';

/**
 * Bytes of a chunk, where it may not be there. Status 0: it was never written; 1: it was, and is lost; 2: it is there. Fewer
 * bytes than asked for: the rest was never written.
 */
export function checkedRead(
  { reader }: RedisClients,
  keys: KeySpace,
  chunk: number,
  from: number,
  length: number,
): Promise<[status: number, bytes: Buffer]> {
  const shard = keys.shardOf(chunk);
  return reader.bgReadBuffer(
    3,
    ...[keys.owner(shard), keys.presence(shard), keys.chunk(chunk)],
    ...[keys.bitOf(chunk), from, from + length - 1],
  );
}
