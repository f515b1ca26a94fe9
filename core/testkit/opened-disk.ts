import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OpenContext } from '../api/backend.ts';
import type { BlockDevice, ResolvedDevice } from '../api/device.ts';
import type { Logger } from '../api/logger.ts';
import { adaptDevice, protect } from '../block/layers.ts';
import { resolve } from '../block/resolve.ts';
import { strictDevice } from '../block/strict.ts';
import { DiskVolume } from '../block/volume.ts';
import { checkedConfig, loadBackend, loadFilter } from './plugin-modules.ts';
import type { FilterUse, TestStore } from './test-store.ts';

export interface OpenOptions {
  readonly readOnly?: boolean;
  /** The owner before this was killed. */
  readonly takeOver?: boolean;
}

/** What can be opened, again and in another process: structured-cloneable. */
export interface DiskSource {
  readonly entry: string;
  readonly config: unknown;
  readonly filters: readonly { readonly entry: string; readonly config?: unknown }[];
  /** The disk's own folder. */
  readonly stateDir: string;
}

/** A disk under test: what the guest of a gateway would see, with the contract watched on the way. */
export interface OpenedDisk extends AsyncDisposable {
  readonly volume: DiskVolume;
  /** What the backend returned. */
  readonly device: BlockDevice;
}

/** A store and the folder of its disk's state; disposal removes both. */
export class StoreUnderTest implements AsyncDisposable {
  readonly store: TestStore;
  readonly source: DiskSource;

  private constructor(store: TestStore, source: DiskSource) {
    this.store = store;
    this.source = source;
  }

  static async make(
    entry: string | URL,
    setup: () => TestStore | Promise<TestStore>,
  ): Promise<StoreUnderTest> {
    const stateDir = await mkdtemp(join(tmpdir(), 'blockgate-testkit-'));
    const store = await setup();
    const filters = (store.filters ?? []).map(({ entry: url, config }: FilterUse) => ({
      entry: String(url),
      config,
    }));
    return new StoreUnderTest(store, { entry: String(entry), config: store.config, filters, stateDir });
  }

  open(options: OpenOptions = {}): Promise<OpenedDisk> {
    return openDisk(this.source, { ...(this.store.readOnly && { readOnly: true }), ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store[Symbol.asyncDispose]?.();
    await rm(this.source.stateDir, { recursive: true, force: true });
  }
}

/** Opens a disk as a gateway does. Its disposal throws what the backend did against the contract. */
export async function openDisk(source: DiskSource, options: OpenOptions): Promise<OpenedDisk> {
  const { readOnly = false, takeOver = false } = options;
  const plugin = await loadBackend(source.entry);
  const grace = new AbortController();
  const { stateDir } = source;
  const ctx: OpenContext = {
    ...{ disk: 'test', stateDir, baseDir: stateDir, readOnly, takeOver },
    logger: quiet,
    signal: grace.signal,
  };
  const violations: string[] = [];
  const violated = (what: string): never => {
    violations.push(what);
    throw new Error(`against the contract: ${what}`);
  };
  await using owned = new AsyncDisposableStack();
  const device = await plugin.open(await checkedConfig(plugin.config, source.config), ctx);
  const watched = owned.use(strictDevice(device, violated));
  let top: ResolvedDevice = adaptDevice(resolve(watched, plugin.name)).device;
  for (const { entry, config = {} } of source.filters.toReversed()) {
    const filter = await loadFilter(entry);
    const layer = await filter.wrap(top, await checkedConfig(filter.config, config), ctx);
    owned.defer(async () => layer[Symbol.asyncDispose]?.());
    top = layer;
  }
  const volume = new DiskVolume('test', protect(top, readOnly).device, quiet);
  const undo = owned.move();
  return {
    volume,
    device,
    async [Symbol.asyncDispose]() {
      await undo.disposeAsync();
      if (violations.length > 0)
        throw new Error(`the backend breaks the contract: ${[...new Set(violations)].join('; ')}`);
    },
  };
}

const quiet: Logger = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  child: () => quiet,
};
