import { open } from 'node:fs/promises';
import { fileDevice } from '../../../backends/file/device.ts';
import type { Logger } from '../../../core/api/logger.ts';
import { adaptDevice } from '../../../core/block/layers.ts';
import { resolve } from '../../../core/block/resolve.ts';
import { DiskVolume } from '../../../core/block/volume.ts';

const logger: Logger = {
  error: (message, fields) => console.error(message, fields),
  warn: (message, fields) => console.error(message, fields),
  info: () => undefined,
  debug: () => undefined,
  child: () => logger,
};

/** A file as a disk, put together as a disk's process does it, but for the lock: each queue's worker has it open. */
export async function fileVolume(path: string, size: number): Promise<DiskVolume & AsyncDisposable> {
  const device = await fileDevice(
    {
      path,
      handle: await open(path, 'r+'),
      kind: 'file',
      size,
      blockSize: 512,
      physicalBlockSize: 4096,
      discardGranularity: 4096,
      readOnly: false,
      direct: undefined,
    },
    logger,
  );
  return Object.assign(new DiskVolume('bench', adaptDevice(resolve(device, 'file')).device, logger), {
    [Symbol.asyncDispose]: () => device[Symbol.asyncDispose](),
  });
}
