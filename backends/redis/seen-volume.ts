import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PluginContext } from '../../core/plugin.ts';
import type { VolumeRecord } from './volume-record.ts';

/** The volume that the disk had last. */
export interface SeenVolume {
  readonly volume: string;
  readonly uuid: string;
}

const fileOf = ({ stateDir }: Pick<PluginContext, 'stateDir'>): string => join(stateDir, 'redis-volume.json');

/**
 * A volume that is gone must not be made anew where a disk had it: zeros would be in the place of its data. What cannot be
 * read says nothing.
 */
export async function seenVolume(ctx: PluginContext): Promise<SeenVolume | undefined> {
  try {
    const seen = JSON.parse(await readFile(fileOf(ctx), 'utf8')) as Partial<SeenVolume>;
    const { volume, uuid } = seen;
    return typeof volume === 'string' && typeof uuid === 'string' ? { volume, uuid } : undefined;
  } catch {
    return undefined;
  }
}

/** Throws errors of the file system. */
export async function rememberVolume(
  ctx: PluginContext,
  { keys, uuid }: Pick<VolumeRecord, 'keys' | 'uuid'>,
): Promise<void> {
  const seen: SeenVolume = { volume: keys.volume, uuid };
  const path = fileOf(ctx);
  await writeFile(`${path}.new`, JSON.stringify(seen));
  await rename(`${path}.new`, path);
}
