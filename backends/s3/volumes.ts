import { GatewayError, type Progress, type VolumeInfo } from '../../core/plugin.ts';
import * as chunk from './chunk/volumes.ts';
import type { S3Config } from './config.ts';
import { encryptionConfig } from './encryption-config.ts';
import * as image from './image/operations.ts';
import { LOG_FORMAT } from './log/volume/volume-record.ts';
import * as log from './log/volume/volumes.ts';
import { rekeyVolume as rekeyLog } from './log/volume/volumes.ts';
import type { Operation } from './operation.ts';
import { listPages } from './store/list-pages.ts';
import { formatOf, readVolumeFile, type VolumeFile } from './volume-file.ts';

/** The volume operations, each by way of the layout that the volume has. */

/** What is no volume at all is for the older layout to complain about. */
export function layoutOf(file: VolumeFile): 'log' | 'chunk' {
  return formatOf(file) === LOG_FORMAT ? 'log' : 'chunk';
}

/** Throws when the volume has another layout than the configuration says, or lacks what the configuration wants of it. */
export function checkLayout(config: S3Config, found: 'log' | 'chunk'): void {
  const { layout, prefix } = config;
  refuseOnChunk(config, found);
  if (layout === undefined || layout === found) return;
  throw new GatewayError(
    'volume.layout-mismatch',
    `The volume at "${prefix}" has the layout "${found}", the configuration says "${layout}".`,
    {
      why: 'The layout is fixed when a volume is created.',
      fix: `Set "layout" to "${found}", or leave it out.`,
    },
  );
}

/** Throws `volume.unsupported` for what only volumes with the layout "log" have. */
function refuseOnChunk({ prefix, compression, encryption }: S3Config, layout: 'log' | 'chunk'): void {
  if (layout === 'log') return;
  const [key, what] = encryption !== undefined ? ['encryption', 'encrypted'] : ['compression', 'compressed'];
  if (encryption === undefined && (compression ?? 'none') === 'none') return;
  throw new GatewayError('volume.unsupported', `The volume at "${prefix}" cannot be ${what}.`, {
    why: 'Its layout is "chunk".',
    fix: `Leave out "${key}", or create the volume with the layout "log".`,
  });
}

type Layout = typeof chunk | typeof log | typeof image;

async function of({ store, config }: Operation): Promise<Layout> {
  if (config.layout === 'image') return image;
  const file = await readVolumeFile(store, config.prefix);
  if (file !== undefined) checkLayout(config, layoutOf(file));
  const wanted = config.layout ?? (config.chunkSize === undefined ? 'log' : 'chunk');
  if (file === undefined) refuseOnChunk(config, wanted);
  return (file === undefined ? wanted : layoutOf(file)) === 'log' ? log : chunk;
}

export async function createVolume(operation: Operation): Promise<VolumeInfo> {
  return (await of(operation)).createVolume(operation);
}

export async function volumeInfo(operation: Operation): Promise<VolumeInfo> {
  return (await of(operation)).volumeInfo(operation);
}

export async function resizeVolume(operation: Operation, size: number): Promise<VolumeInfo> {
  return (await of(operation)).resizeVolume(operation, size);
}

/** From now on `encryption` opens the volume, and nothing else. */
export async function rekeyVolume(operation: Operation, encryption: unknown): Promise<VolumeInfo> {
  await requireLog(operation, 'are encrypted');
  const parsed = encryptionConfig.safeParse(encryption);
  if (parsed.success) return rekeyLog(operation, parsed.data);
  throw new GatewayError('config.invalid', 'The new key is not written as it has to be.', {
    why: parsed.error.issues[0]!.message,
    fix: 'Write it as "encryption" of the backend.',
  });
}

export async function deleteVolume(
  operation: Operation,
  options: { readonly force: boolean; readonly progress: Progress },
): Promise<void> {
  return (await of(operation)).deleteVolume(operation, options);
}

/** Throws `volume.unsupported` unless the volume has the layout "log", of which only it is true that they do `what`. */
export async function requireLog(operation: Operation, what: string): Promise<void> {
  const layout = await of(operation);
  if (layout === log) return;
  const { prefix } = operation.config;
  throw new GatewayError(
    'volume.unsupported',
    layout === image ? `"${prefix}" is an image.` : `The volume at "${prefix}" has the layout "chunk".`,
    {
      why: `Only volumes with the layout "log" ${what}.`,
      fix: 'Copy it into a volume with that layout.',
    },
  );
}

/** Volumes whose prefixes lie beside the configured one; beside an image, and the image. */
export async function listVolumes(operation: Operation): Promise<readonly VolumeInfo[]> {
  const { store, config } = operation;
  const parent = config.prefix.slice(0, config.prefix.lastIndexOf('/') + 1);
  const found: VolumeInfo[] = config.layout === 'image' ? [await volumeInfo(operation)] : [];
  for await (const page of listPages(store, parent, { delimiter: '/' })) {
    const volumes = page.prefixes.map((prefix) =>
      describeAt({ ...operation, config: { ...config, prefix: prefix.slice(0, -1) } }),
    );
    found.push(...(await Promise.all(volumes)).filter((info) => info !== undefined));
  }
  return found;
}

/** Undefined when there is no volume, or nothing that we can read. */
async function describeAt(operation: Operation): Promise<VolumeInfo | undefined> {
  try {
    const file = await readVolumeFile(operation.store, operation.config.prefix);
    return file && (await (layoutOf(file) === 'log' ? log : chunk).describeVolume(operation));
  } catch (error) {
    if (GatewayError.is(error)) return undefined;
    throw error;
  }
}
