import type { FrontendPlugin } from '../api/frontend.ts';
import type { DiskConfig, LoadedConfig, Locator, PluginUse } from '../config/config.ts';
import { PluginRegistry, type PreparedDisk } from '../plugins/registry.ts';

type PlainUse = Omit<PluginUse, keyof Locator>;

/**
 * One disk's configuration as plain data: what a disk's process is told to run. Secrets are in it by reference only,
 * as in plugins.json.
 */
export interface DiskOrder {
  /** Absolute path of plugins.json. */
  readonly file: string;
  readonly baseDir: string;
  readonly plugins: LoadedConfig['plugins'];
  readonly disk: {
    readonly name: string;
    readonly readOnly: boolean;
    readonly standby: boolean;
    readonly frontend: PlainUse;
    readonly filters: readonly PlainUse[];
    readonly backend: PlainUse;
  };
}

export function orderFor(config: LoadedConfig, disk: DiskConfig): DiskOrder {
  return {
    file: config.file,
    baseDir: config.baseDir,
    plugins: config.plugins.map(({ spec, pointer }) => ({ spec, pointer })),
    disk: {
      name: disk.name,
      readOnly: disk.readOnly,
      standby: disk.standby,
      frontend: plain(disk.frontend),
      filters: disk.filters.map(plain),
      backend: plain(disk.backend),
    },
  };
}

/** The same disk after its store has grown: a configuration that names the size must not keep it from starting again. */
export function withSize(order: DiskOrder, size: number): DiskOrder {
  const { config } = order.disk.backend;
  if (typeof config !== 'object' || config === null || !('size' in config)) return order;
  return {
    ...order,
    disk: { ...order.disk, backend: { ...order.disk.backend, config: { ...config, size } } },
  };
}

/** Imports what starting the disk will need. */
export async function warmUp({ frontend, filters, backend }: PreparedDisk): Promise<void> {
  const threadModule = filters.length === 0 ? backend.plugin.threadModule : undefined;
  await Promise.all([frontend.plugin.warmUp?.(frontend.config, threadModule), backend.plugin.warmUp?.()]);
}

function plain({ type, config, pointer }: PluginUse): PlainUse {
  return { type, config, pointer };
}

/** The frontend of a disk alone; undefined when no plugin provides it. */
export async function frontendOf(order: DiskOrder): Promise<FrontendPlugin | undefined> {
  const registry = await loadRegistry(order);
  return (await registry.find('frontend', order.disk.frontend.type))?.load();
}

/** Loads the plugins and checks the configuration again, in the process that will run the disk. */
export async function prepareOrder(order: DiskOrder): Promise<PreparedDisk> {
  const registry = await loadRegistry(order);
  const use = (part: PlainUse): PluginUse => ({ ...part, locate: locatorOf(order) });
  const { name, readOnly, standby, frontend, filters, backend } = order.disk;
  return registry.prepareDisk({
    name,
    readOnly,
    standby,
    frontend: use(frontend),
    filters: filters.map(use),
    backend: use(backend),
  });
}

function loadRegistry(order: DiskOrder): Promise<PluginRegistry> {
  return PluginRegistry.load({ ...order, locate: locatorOf(order) });
}

/** The gateway has found and shown mistakes with line and column already; here the pointer is enough. */
function locatorOf({ file }: DiskOrder): Locator['locate'] {
  return (pointer) => ({ file, pointer });
}
