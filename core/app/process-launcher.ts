import { fork } from 'node:child_process';
import { getCompileCacheDir } from 'node:module';
import { dirname, extname } from 'node:path';
import type { Logger } from '../api/logger.ts';
import type { LogLevel } from '../observe/log-level.ts';
import type { User } from '../system/user.ts';
import type { ToDisk } from './disk-messages.ts';
import type { DiskOrder } from './disk-order.ts';
import { ProcessDisk } from './process-disk.ts';
import type { DiskLauncher, LaunchOptions, LaunchSettings, RunningDisk } from './running-disk.ts';

/** Same folder, and `.ts` from source but `.js` once built. */
const DISK_PROCESS = new URL(`./disk-process${extname(import.meta.url)}`, import.meta.url);

export interface ProcessOptions {
  /** The disk's process leaves out what is above it already, rather than send it here. */
  readonly logLevel: LogLevel;
  /** Whom disks' processes become before they serve. */
  readonly user?: User | undefined;
  /** A process that has not answered for so long is killed. Milliseconds; undefined: none is. */
  readonly hangMs?: number | undefined;
}

/** Runs each disk in a process of its own, so that a crash costs one disk and no other. */
export class ProcessLauncher implements DiskLauncher {
  readonly #settings: LaunchSettings;
  readonly #logger: Logger;
  readonly #options: ProcessOptions;

  constructor(settings: LaunchSettings, logger: Logger, options: ProcessOptions) {
    this.#settings = settings;
    this.#logger = logger;
    this.#options = options;
  }

  launch(order: DiskOrder, { takeOver, signal }: LaunchOptions): Promise<RunningDisk> {
    const { logLevel, user, hangMs } = this.#options;
    const start: ToDisk = { type: 'start', order, takeOver, logLevel, user, ...this.#settings };
    // A plugin that prints would spoil our standard output, which is for scripts: both streams go to standard error.
    const child = fork(DISK_PROCESS, [], { stdio: ['ignore', 2, 2, 'ipc'], execArgv: [], env: childEnv() });
    const { graceMs } = this.#settings;
    return ProcessDisk.start(child, start, { logger: this.#logger, signal, graceMs, hangMs });
  }
}

/** A child starts twice as fast with the compile cache of its parent, where there is one. */
function childEnv(): NodeJS.ProcessEnv {
  const cache = getCompileCacheDir();
  return cache === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(cache) };
}
