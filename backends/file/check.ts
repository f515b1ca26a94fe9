import { access, constants, stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Finding, formatSize, GatewayError, type PluginContext } from '../../core/plugin.ts';
import type { FileConfig } from './config.ts';
import { openFailed, sizeMismatch } from './errors.ts';
import { storeKind } from './open-store.ts';

/** What can be said about the file without opening it for writing. */
export async function checkFile(config: FileConfig, ctx: PluginContext): Promise<readonly Finding[]> {
  const path = resolve(ctx.baseDir, config.path);
  try {
    const kind = await storeKind(path);
    if (kind === undefined) return await checkMissing(path, config);
    await access(path, constants.R_OK | constants.W_OK);
    if (kind === 'block device') return [{ severity: 'ok', summary: `${path} is a block device.` }];
    const { size, blocks } = await stat(path);
    if (config.size !== undefined && size !== config.size) throw sizeMismatch(path, size, config.size);
    return [
      {
        severity: 'ok',
        summary: `${path} is ${formatSize(size)}, ${formatSize(blocks * 512)} of it in use.`,
      },
      ...(await checkSpace(path, size - blocks * 512)),
    ];
  } catch (error) {
    const failure = GatewayError.is(error) ? error : openFailed(path, error as NodeJS.ErrnoException, false);
    return [{ severity: 'error', summary: failure.message, ...(failure.fix && { fix: failure.fix }) }];
  }
}

async function checkMissing(path: string, config: FileConfig): Promise<readonly Finding[]> {
  if (config.size === undefined || !config.create) {
    return [
      { severity: 'error', summary: `${path} does not exist.`, fix: 'Correct "path", or give it a "size".' },
    ];
  }
  await access(dirname(path), constants.W_OK);
  return [
    { severity: 'ok', summary: `${path} will be created with ${formatSize(config.size)}.` },
    ...(await checkSpace(dirname(path), config.size)),
  ];
}

/** A sparse file promises space that its file system may not have. */
async function checkSpace(path: string, needed: number): Promise<readonly Finding[]> {
  const { bavail, bsize } = await statfs(path);
  const free = bavail * bsize;
  if (needed <= free) return [];
  return [
    {
      severity: 'warning',
      summary: `The file may grow by ${formatSize(needed)}, but its file system has only ${formatSize(free)} left.`,
      fix: 'Free space, or choose a smaller "size": writes fail when the file system is full.',
    },
  ];
}
