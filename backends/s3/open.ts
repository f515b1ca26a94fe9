import type { BlockDevice, OpenContext } from '../../core/plugin.ts';
import { attach } from './chunk/attach.ts';
import type { S3Config } from './config.ts';
import { explained } from './errors.ts';
import { attachLog } from './log/attach.ts';
import { startSession } from './session.ts';
import type { ObjectStore } from './store/object-store.ts';
import { ATTACH_POLICY, type RetryPolicy } from './store/retrying-store.ts';
import { checkLayout, findLayout } from './volumes.ts';

/** Opens the volume that the configuration names, whatever its layout. Owns `store`. */
export async function openVolume(
  store: ObjectStore,
  config: S3Config,
  ctx: OpenContext,
  policy: Partial<RetryPolicy> = {},
): Promise<BlockDevice> {
  await using undo = new AsyncDisposableStack();
  undo.use(store);
  const looking = startSession(store, config, ctx, ctx.signal).with(ATTACH_POLICY);
  const layout = await explained(config, async () => {
    const found = await findLayout(looking, config.prefix);
    if (found !== undefined) checkLayout(config, found);
    return found;
  });
  undo.move();
  return layout === 'log' ? attachLog(store, config, ctx, policy) : attach(store, config, ctx, policy);
}
