import { fileConfig } from '../../../backends/file/config.ts';
import { fileDevice } from '../../../backends/file/device.ts';
import { openStore } from '../../../backends/file/open-store.ts';
import type { BlockDevice } from '../../../core/api/device.ts';
import type { Logger } from '../../../core/api/logger.ts';

/** Says what should not happen. */
export const logger: Logger = {
  error: (message, fields) => console.error(message, fields),
  warn: (message, fields) => console.error(message, fields),
  info: () => undefined,
  debug: () => undefined,
  child: () => logger,
};

/** The file backend's device on an existing file. */
export async function openFile(path: string): Promise<BlockDevice> {
  return await fileDevice(
    await openStore(fileConfig.parse({ path }), {
      baseDir: '/',
      logger,
      readOnly: false,
      signal: new AbortController().signal,
    }),
    logger,
  );
}
