import type { Operation } from '../../operation.ts';
import { FrameCache } from '../cache/frame-cache.ts';
import { unlockVolume } from '../encryption/volume-keys.ts';
import { BaseImage, imageOf } from '../image/base-image.ts';
import type { LogSource } from '../log-source.ts';
import { LogNames } from '../names.ts';
import { takeVolume } from '../take-volume.ts';
import type { LogWriter } from '../writer.ts';
import { codecOf, readLogVolume } from './volume-record.ts';

/** The volume of an operation, whatever size the configuration says. */
export const readVolume = ({ store, config }: Operation) =>
  readLogVolume(store, new LogNames(config.prefix), { ...config, size: undefined });

/** Takes the volume for as long as `run` lasts. */
export async function withWriter<T>(
  operation: Operation,
  run: (writer: LogWriter, source: LogSource, frames: FrameCache) => Promise<T>,
): Promise<T> {
  const { store, config, ctx } = operation;
  const volume = await readVolume(operation);
  const names = new LogNames(config.prefix);
  const key = await unlockVolume(store, names, volume.record, config, ctx);
  const codec = codecOf(volume.record, config, key);
  const image = imageOf(volume.record, volume.head.head);
  const frames = new FrameCache(store, codec, config.readCache, {
    // What is of no need to the operation need not be there.
    image: image && new BaseImage(store, image, ctx.logger),
  });
  const writer = await takeVolume({
    stores: { starting: store, running: store },
    volume,
    config,
    ctx: { ...ctx, takeOver: false },
    codec,
    frames,
    onFailed: () => undefined,
  });
  try {
    return await run(writer, { store, names, key }, frames);
  } finally {
    await writer.release();
  }
}
