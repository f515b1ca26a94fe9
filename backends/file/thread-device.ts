import type { BlockDevice, Logger } from '../../core/plugin.ts';
import { type SharedStore, sharedDevice } from './device.ts';

/** Entry for other threads of the process that has the file open and locked: see `ThreadOpener`. */
export function openInThread(store: SharedStore, logger: Logger): BlockDevice {
  return sharedDevice(store, logger);
}
