// hot path: see ARCHITECTURE.md "Data plane"

import type { Change } from './change.ts';
import type { RedisClients } from './clients.ts';
import type { KeySpace } from './keys.ts';

/** One script keeps the server from everything else: no longer than this takes. Changes, and bytes. */
const MAX_CHANGES = 64;
const MAX_BYTES = 512 * 1024;

/** Changes of one shard, which one script carries out. */
export interface ChangeBatch {
  readonly shard: number;
  readonly changes: Change[];
}

/** In their order, as few batches as there may be. */
export function batchesOf(changes: readonly Change[], keys: KeySpace): ChangeBatch[] {
  const open = new Map<number, { batch: ChangeBatch; bytes: number }>();
  const batches: ChangeBatch[] = [];
  for (const change of changes) {
    const shard = keys.shardOf(change.chunk);
    let current = open.get(shard);
    if (
      current === undefined ||
      current.batch.changes.length === MAX_CHANGES ||
      current.bytes + change.weight > MAX_BYTES
    ) {
      current = { batch: { shard, changes: [] }, bytes: 0 };
      open.set(shard, current);
      batches.push(current.batch);
    }
    current.batch.changes.push(change);
    current.bytes += change.weight;
  }
  return batches;
}

/** Returns the status of each change: see `SCRIPTS.bgChange`. */
export function sendBatch(
  { writer }: RedisClients,
  keys: KeySpace,
  owner: string,
  { shard, changes }: ChangeBatch,
): Promise<number[]> {
  const names: string[] = [keys.owner(shard), keys.presence(shard)];
  const operands: (string | number | Buffer)[] = [owner];
  for (const { chunk, kind, offset, length, data } of changes) {
    names.push(keys.chunk(chunk));
    operands.push(keys.bitOf(chunk), kind, offset, data ?? length);
  }
  return writer.bgChange(names.length, ...names, ...operands);
}
