import { join } from 'node:path';
import type { Volume } from '../../api/device.ts';
import { GatewayError } from '../../api/errors.ts';
import type { Logger } from '../../api/logger.ts';
import { DiskVolume } from '../../block/volume.ts';
import type { LoadedConfig } from '../../config/config.ts';
import { parseBackendArgument } from '../../config/load.ts';
import { PluginRegistry } from '../../plugins/registry.ts';
import { formatSize } from '../../util/size.ts';
import { buildDevice, type DevicePlan, pluginContext } from '../disk-runner.ts';
import { selectDisks } from '../select-disks.ts';
import { compareImages, copyImage } from './copy-image.ts';
import { CopyProgress } from './copy-progress.ts';
import { existingImage, type Image, newImage } from './image.ts';

export interface CopyRequest {
  /** Into the disk, or out of it. */
  readonly direction: 'import' | 'export';
  readonly disk: string;
  /** A file, a block device or an NBD URI. */
  readonly image: string;
  /** As QEMU calls it. */
  readonly format?: string | undefined;
  readonly allowSmaller: boolean;
  readonly overwrite: boolean;
  readonly resume: boolean;
  readonly verify: boolean;
}

export interface CopyContext {
  readonly config: LoadedConfig;
  readonly stateDir: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly progress: (what: 'copying' | 'comparing', done: number, total: number) => void;
}

/** Copies a whole image into a disk that nobody has open, or out of it. Returns how many bytes that are. */
export async function copyDisk(request: CopyRequest, ctx: CopyContext): Promise<number> {
  const { direction, disk, image, format, resume, overwrite } = request;
  const { config, signal } = ctx;
  const [diskConfig] = selectDisks(config, [disk]);
  const registry = await PluginRegistry.load(config);
  await using owned = new AsyncDisposableStack();
  const open = (plan: DevicePlan, readOnly: boolean) =>
    openVolume({ ...plan, readOnly: readOnly || plan.readOnly }, ctx, owned);
  const openImage = async ({ backend }: Image, readOnly: boolean): Promise<Volume> => {
    const prepared = await registry.prepareBackend(parseBackendArgument(JSON.stringify(backend)));
    return open({ name: disk, backend: prepared, filters: [], frontend, readOnly }, readOnly);
  };
  const plan = await registry.prepareDisk(diskConfig!);
  const state = new CopyProgress(join(ctx.stateDir, disk, `${direction}.json`));
  const { source, target, other } = await (async () => {
    if (direction === 'import') {
      const other = await existingImage(image, format, owned);
      const source = await openImage(other, true);
      const target = await open(plan, false);
      fits(source.size, target.size, request);
      return { source, target, other };
    }
    const source = await open(plan, true);
    if (!resume) await state.clear();
    const other = await newImage(image, format, { size: source.size, overwrite, resume }, owned);
    return { source, target: await openImage(other, false), other };
  })();
  fits(source.size, target.size, request);
  const identity = { direction, disk, image: other.identity, from: source.size, to: target.size };
  if (!resume) await state.clear();
  // What is behind the end of the disk in a larger target is not ours.
  const size = direction === 'import' ? target.size : source.size;
  await copyImage(source, target, {
    size,
    done: resume ? await state.read(identity) : 0,
    isSame: direction === 'import' && other.showsChanges,
    onDurable: (done) => state.write(identity, done),
    progress: (done, total) => ctx.progress('copying', done, total),
    signal,
  });
  await state.clear();
  if (request.verify)
    await compareImages(source, target, {
      size,
      progress: (done, total) => ctx.progress('comparing', done, total),
      signal,
    });
  return size;
}

/** In messages, where a disk has the name of its frontend. */
const frontend = { plugin: { name: 'copy' } };

async function openVolume(plan: DevicePlan, ctx: CopyContext, owned: AsyncDisposableStack): Promise<Volume> {
  const { config, stateDir, logger, signal } = ctx;
  const options = { logger, baseDir: config.baseDir, stateDir, takeOver: false, graceMs: 0 };
  const context = await pluginContext(plan, options, signal);
  const { device } = await buildDevice(plan, context, owned);
  return new DiskVolume(plan.name, device, context.logger);
}

function fits(from: number, to: number, { allowSmaller, disk, direction }: CopyRequest): void {
  if (from > to)
    throw new GatewayError(
      'copy.too-large',
      `The image has ${formatSize(from)}, and there is room for ${formatSize(to)}.`,
      {
        fix:
          direction === 'import'
            ? `Grow the disk: blockgate volume resize ${disk} ${from}`
            : 'Name a larger target.',
      },
    );
  if (from < to && direction === 'import' && !allowSmaller)
    throw new GatewayError(
      'copy.too-small',
      `The image has ${formatSize(from)}, and the disk ${formatSize(to)}.`,
      {
        why: 'What is behind the end of the image would be zeros.',
        fix: 'If that is meant, add --allow-smaller.',
      },
    );
}
