import type { BlockDevice, MaybePromise, ThreadOpener, ThreadVolume } from '../api/device.ts';
import type { Logger } from '../api/logger.ts';
import { type AutomaticLayer, adaptDevice, protect } from './layers.ts';
import { resolve } from './resolve.ts';
import { DiskVolume } from './volume.ts';

/** Layers that keep nothing between two calls: a copy in each thread is as good as one. */
const STATELESS: readonly AutomaticLayer['name'][] = ['split', 'readonly'];

export interface StackOfDisk {
  readonly name: string;
  readonly backend: string;
  readonly readOnly: boolean;
  readonly opener: ThreadOpener | undefined;
  /** Number of filters that somebody configured: those may keep state. */
  readonly filters: number;
  readonly automatic: readonly AutomaticLayer['name'][];
}

/** How other threads may open the disk; undefined when it has to stay in one. */
export function threadVolume(stack: StackOfDisk): ThreadVolume | undefined {
  const { name, backend, readOnly, opener, filters, automatic } = stack;
  if (opener === undefined || filters > 0) return undefined;
  if (automatic.some((layer) => !STATELESS.includes(layer))) return undefined;
  return { name, backend, readOnly, opener };
}

/** What the module of a `ThreadOpener` exports. */
interface ThreadModule {
  openInThread(data: unknown, logger: Logger): MaybePromise<BlockDevice>;
}

interface OpenedThreadVolume {
  readonly volume: DiskVolume;
  /** Sees how large the store has become. */
  grow(): Promise<void>;
  close(): Promise<void>;
}

/** Opens, in the thread that calls, a volume that `threadVolume` has described in another. */
export async function openThreadVolume(
  { name, backend, readOnly, opener }: ThreadVolume,
  logger: Logger,
): Promise<OpenedThreadVolume> {
  const module = (await import(opener.module)) as ThreadModule;
  const opened = await module.openInThread(opener.data, logger);
  const { device } = protect(adaptDevice(resolve(opened, backend)).device, readOnly);
  const volume = new DiskVolume(name, device, logger);
  return {
    volume,
    grow: async () => {
      await opened.resize?.();
      volume.grow();
    },
    close: async () => await opened[Symbol.asyncDispose](),
  };
}
