import type { ResolvedCaps } from '../api/device.ts';
import type { PreparedDisk } from '../plugins/registry.ts';
import { buildDevice, pluginContext, type RunDiskOptions } from './disk-runner.ts';
import type { StackLayer } from './disk-stack.ts';

/** What a disk would be, found out without attaching it. */
export interface DiskInspection {
  /** From the guest to the store. */
  readonly stack: readonly StackLayer[];
  /** Bytes; known once the store has been opened. */
  readonly size?: number;
  /** Known once the store has been opened. */
  readonly caps?: ResolvedCaps;
}

/** The stack as far as the configuration tells it: layers that depend on the store are missing. */
export function inspectDisk(disk: PreparedDisk): DiskInspection {
  const named = (kind: StackLayer['kind'], { plugin }: { plugin: { name: string } }): StackLayer => {
    return { kind, name: plugin.name };
  };
  const readOnly: StackLayer = {
    kind: 'automatic',
    name: 'readonly',
    reason: 'the disk is configured read-only',
  };
  return {
    stack: [
      named('frontend', disk.frontend),
      ...(disk.readOnly ? [readOnly] : []),
      ...disk.filters.map((filter) => named('filter', filter)),
      named('backend', disk.backend),
    ],
  };
}

/** Opens the store for reading, looks at it, and closes it. */
export async function inspectOpenDisk(disk: PreparedDisk, options: RunDiskOptions): Promise<DiskInspection> {
  await using owned = new AsyncDisposableStack();
  const ctx = await pluginContext(disk, options, options.signal ?? new AbortController().signal);
  const { device, stack } = await buildDevice(disk, { ...ctx, readOnly: true }, owned);
  return { stack, size: device.size, caps: device.caps };
}
