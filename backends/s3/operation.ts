import { GatewayError, type PluginContext } from '../../core/plugin.ts';
import type { S3Config } from './config.ts';
import { explained } from './errors.ts';
import { startSession } from './session.ts';
import { MAX_DELETE_KEYS, type ObjectStore } from './store/object-store.ts';
import { ATTACH_POLICY, type RetryPolicy } from './store/retrying-store.ts';

/** An operation on a volume that no disk of ours has open. */
export interface Operation {
  readonly store: ObjectStore;
  readonly config: S3Config;
  readonly ctx: PluginContext;
}

/** Opens a session on `store`, which it disposes of, and explains what the store refuses. */
export async function withStore<T>(
  store: ObjectStore,
  config: S3Config,
  ctx: PluginContext,
  run: (operation: Operation) => Promise<T>,
  policy: RetryPolicy = ATTACH_POLICY,
): Promise<T> {
  using _store = store;
  const session = startSession(store, config, ctx, ctx.signal);
  return await explained(config, () => run({ store: session.with(policy), config, ctx }));
}

export async function deleteAll(store: ObjectStore, keys: readonly string[]): Promise<void> {
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
