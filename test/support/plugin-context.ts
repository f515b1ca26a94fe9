import type { OpenContext } from '../../core/api/backend.ts';
import { MemoryLogger } from './fake-device.ts';

/** What a backend gets from the gateway, with `folder` as that of plugins.json and of the disk's state. */
export function openContext(
  folder: string,
  overrides: Partial<OpenContext> = {},
): OpenContext & { readonly logger: MemoryLogger } {
  return {
    disk: 'disk0',
    signal: new AbortController().signal,
    stateDir: folder,
    baseDir: folder,
    readOnly: false,
    takeOver: false,
    ...overrides,
    logger: new MemoryLogger(),
  };
}
