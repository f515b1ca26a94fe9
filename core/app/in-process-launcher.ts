import type { Logger } from '../api/logger.ts';
import { type DiskOrder, prepareOrder } from './disk-order.ts';
import { runDisk } from './disk-runner.ts';
import type { DiskLauncher, LaunchOptions, LaunchSettings, RunningDisk } from './running-disk.ts';

/** Runs disks in this process: for tests, for embedding, and for looking at one with a debugger. */
export class InProcessLauncher implements DiskLauncher {
  readonly #settings: LaunchSettings;
  readonly #logger: Logger;

  constructor(settings: LaunchSettings, logger: Logger) {
    this.#settings = settings;
    this.#logger = logger;
  }

  async launch(order: DiskOrder, options: LaunchOptions): Promise<RunningDisk> {
    const { baseDir } = order;
    return runDisk(await prepareOrder(order), {
      ...this.#settings,
      ...options,
      logger: this.#logger,
      baseDir,
    });
  }
}
