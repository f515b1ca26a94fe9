// hot path: see ARCHITECTURE.md "Data plane"

import type { Change } from './change.ts';
import type { HotCommands } from './hot-commands.ts';
import type { KeySpace } from './keys.ts';
import type { RespError } from './resp-connection.ts';

/** Changes of one shard, which the server carries out together. */
export interface ChangeBatch {
  /** Which of the connections carries it. */
  readonly lane: number;
  readonly shard: number;
  readonly changes: readonly Change[];
}

/** 0: done; 1: the chunk should be there and is not; or what the server says. */
export type ChangeStatus = number | RespError;

/** Returns the status of each change. `isThere`: the chunk exists, as far as we know. */
export async function sendBatch(
  hot: HotCommands,
  keys: KeySpace,
  owner: string,
  { lane, shard, changes }: ChangeBatch,
  isThere: (chunk: number) => boolean,
): Promise<readonly ChangeStatus[]> {
  if (changes.every(({ kind, chunk }) => kind === 'w' && isThere(chunk))) {
    const ownerKey = keys.owner(shard);
    const bytes = changes.reduce((sum, { length }) => sum + length, 0);
    if (hot.prefersTransaction(lane, bytes)) {
      const names = namesOf(changes);
      const errors = await hot.transact(lane, ownerKey, owner, names, changes);
      if (errors !== undefined) return errors.map((error) => error ?? 0);
    }
    const names = [ownerKey, ...changes.map(({ key }) => key!)];
    const operands = changes.flatMap(({ offset, data }) => [offset, data!]);
    const done = await hot.change(lane, 'bgWrite', names, [owner, ...operands]);
    if (done !== null) return changes.map(() => 0);
  }
  const names: string[] = [keys.owner(shard), keys.presence(shard)];
  const operands: (string | number | Uint8Array)[] = [owner];
  for (const { chunk, key, kind, offset, length, data } of changes) {
    names.push(key ?? keys.chunk(chunk));
    operands.push(keys.bitOf(chunk), kind, offset, data ?? length);
  }
  return (await hot.change(lane, 'bgChange', names, operands))!;
}

/** Of writes: the keys of their chunks, each of them once. */
function namesOf(writes: readonly Change[]): string[] {
  return [...new Map(writes.map(({ chunk, key }) => [chunk, key!])).values()];
}
