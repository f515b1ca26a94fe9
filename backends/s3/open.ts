import type { BlockDevice, OpenContext } from '../../core/plugin.ts';
import { openChunk } from './chunk/attach.ts';
import type { S3Config } from './config.ts';
import { openDisk } from './disk-session.ts';
import { openImage } from './image/attach.ts';
import { openLog } from './log/attach.ts';
import type { ObjectStore } from './store/object-store.ts';
import type { RetryPolicy } from './store/retrying-store.ts';
import { volumeNotFound } from './volume-errors.ts';
import { readVolumeFile } from './volume-file.ts';
import { checkLayout, layoutOf } from './volumes.ts';

/** Options that not every layout has. */
const FOR_LAYOUTS = [
  ['diskCache', 'the layouts "log" and "image"'],
  ['bootProfile', 'the layout "log"'],
  ['flatten', 'the layout "log"'],
] as const;

/** Opens the volume or the image that the configuration names, whatever its layout. Owns `store`. */
export function openVolume(
  store: ObjectStore,
  config: S3Config,
  ctx: OpenContext,
  policy: Partial<RetryPolicy> = {},
): Promise<BlockDevice> {
  return openDisk(store, config, ctx, policy, async (session) => {
    if (config.layout === 'image') return await openImage(session, config, ctx);
    const file = await readVolumeFile(session.starting, config.prefix);
    if (file === undefined) throw volumeNotFound(config);
    const layout = layoutOf(file);
    checkLayout(config, layout);
    for (const [key, layouts] of FOR_LAYOUTS)
      if (layout === 'chunk' && config[key] !== undefined && config[key] !== false)
        ctx.logger.warn(`"${key}" is for ${layouts}; this volume has the layout "chunk" and goes without`);
    return await (layout === 'log' ? openLog : openChunk)(session, config, ctx, file);
  });
}
