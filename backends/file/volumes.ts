import { type FileHandle, open, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  blockGeometry,
  findLockHolders,
  GatewayError,
  lockFile,
  type PluginContext,
  type VolumeInfo,
  type VolumeOperations,
} from '../../core/plugin.ts';
import type { FileConfig } from './config.ts';
import { inUse, missing, openFailed, sizeRequired } from './errors.ts';
import { growFile, notOurs } from './grow.ts';
import { openStore, storeKind, syncFolder } from './open-store.ts';

/** The file as a volume. A block device is somebody else's to create, resize or delete. */
export const fileVolumes: VolumeOperations<FileConfig> = {
  async create(config, ctx) {
    const path = resolve(ctx.baseDir, config.path);
    if ((await storeKind(path)) !== undefined) {
      throw new GatewayError('volume.exists', `${path} exists already.`, {
        fix: 'Use it as it is, choose another "path", or delete it first with "blockgate volume delete".',
      });
    }
    if (config.size === undefined) throw sizeRequired(path, 'The file does not exist yet.');
    const store = await openStore({ ...config, create: true }, { ...ctx, readOnly: false });
    await store.handle.close();
    return describe(config, ctx);
  },

  info: describe,

  /** The configured file alone: what else lies in its folder may be anything. */
  list: async (config, ctx) => [await describe(config, ctx)],

  async resize(config, size, ctx) {
    const path = await existingFile(config, ctx);
    await using handle = await openLocked(path);
    await growFile(path, handle.fd, size, 512);
    return describe(config, ctx);
  },

  async delete(config, { force }, ctx) {
    const path = resolve(ctx.baseDir, config.path);
    // Gone already: perhaps by an earlier call that was interrupted before it reported so.
    if ((await storeKind(path)) === undefined) return;
    await existingFile(config, ctx);
    // Held until the name is gone for good.
    await using _lock = force ? undefined : await openLocked(path);
    await rm(path, { force: true });
    await syncFolder(dirname(path));
  },
};

async function describe(config: FileConfig, ctx: PluginContext): Promise<VolumeInfo> {
  const path = resolve(ctx.baseDir, config.path);
  const kind = await storeKind(path);
  if (kind === undefined) throw notCreated(path);
  await using handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    throw openFailed(path, error, true);
  });
  const stats = await handle.stat();
  const [holder] = await findLockHolders(path);
  return {
    name: path,
    size: kind === 'file' ? stats.size : (await blockGeometry(handle.fd, stats.rdev)).size,
    ...(kind === 'file' && { used: stats.blocks * 512 }),
    ...(holder && { owner: `process ${holder.pid} (${holder.command})` }),
    details: { kind },
  };
}

/** The path of a regular file that is there. */
async function existingFile(config: FileConfig, ctx: PluginContext): Promise<string> {
  const path = resolve(ctx.baseDir, config.path);
  const kind = await storeKind(path);
  if (kind === undefined) throw notCreated(path);
  if (kind === 'file') return path;
  throw notOurs(path);
}

async function openLocked(path: string): Promise<FileHandle> {
  const handle = await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
    throw openFailed(path, error, false);
  });
  const holders = await lockFile(handle.fd, path, 'exclusive');
  if (holders === undefined) return handle;
  await handle.close();
  throw inUse(path, holders);
}

function notCreated(path: string): GatewayError {
  return missing(path, 'Create it with "blockgate volume create", or correct "path".');
}
