// hot path: see ARCHITECTURE.md "Data plane"

import type { Change } from './change.ts';
import type { RedisClients } from './clients.ts';
import type { KeySpace } from './keys.ts';

/** One script keeps the server from everything else: no longer than this takes. Changes, and bytes. */
const MAX_CHANGES = 16;
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

/** Returns the status of each change: see `SCRIPTS.bgChange`. `isThere`: the chunk exists, as far as we know. */
export async function sendBatch(
  { hot }: RedisClients,
  keys: KeySpace,
  owner: string,
  { shard, changes }: ChangeBatch,
  isThere: (chunk: number) => boolean,
): Promise<readonly number[]> {
  if (changes.every(({ kind, chunk }) => kind === 'w' && isThere(chunk))) {
    const names = [keys.owner(shard), ...changes.map(({ chunk }) => keys.chunk(chunk))];
    const operands = changes.flatMap(({ offset, data }) => [offset, data!]);
    const done = await hot.change('bgWrite', names, [owner, ...operands]);
    if (done !== null) return changes.map(() => 0);
  }
  const names: string[] = [keys.owner(shard), keys.presence(shard)];
  const operands: (string | number | Uint8Array)[] = [owner];
  for (const { chunk, kind, offset, length, data } of changes) {
    names.push(keys.chunk(chunk));
    operands.push(keys.bitOf(chunk), kind, offset, data ?? length);
  }
  return (await hot.change('bgChange', names, operands))!;
}
