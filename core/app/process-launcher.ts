import { fork } from 'node:child_process';
import { getCompileCacheDir } from 'node:module';
import { dirname, extname } from 'node:path';
import type { Logger } from '../api/logger.ts';
import type { LogLevel } from '../observe/log-level.ts';
import type { User } from '../system/user.ts';
import type { Identity } from './disk-messages.ts';
import type { DiskOrder } from './disk-order.ts';
import { ProcessDisk } from './process-disk.ts';
import type {
  DiskLauncher,
  LaunchOptions,
  LaunchSettings,
  RunningDisk,
  StandbyDisk,
} from './running-disk.ts';

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

  launch(order: DiskOrder, options: LaunchOptions): Promise<RunningDisk> {
    return this.#start(this.#fork(order), order, options);
  }

  async prepare(order: DiskOrder, signal: AbortSignal): Promise<StandbyDisk> {
    const disk = this.#fork(order);
    await disk.prepare(this.#identity(order), signal);
    return {
      start: (options) => this.#start(disk, order, options),
      [Symbol.asyncDispose]: () => disk[Symbol.asyncDispose](),
    };
  }

  #fork(order: DiskOrder): ProcessDisk {
    // A plugin that prints would spoil our standard output, which is for scripts: both streams go to standard error.
    const child = fork(DISK_PROCESS, [], { stdio: ['ignore', 2, 2, 'ipc'], execArgv: [], env: childEnv() });
    const { name } = order.disk;
    const { graceMs } = this.#settings;
    return new ProcessDisk(child, { name, logger: this.#logger, graceMs, hangMs: this.#options.hangMs });
  }

  #start(disk: ProcessDisk, order: DiskOrder, { takeOver, signal }: LaunchOptions): Promise<RunningDisk> {
    const { logLevel } = this.#options;
    const { graceMs } = this.#settings;
    return disk.start({ type: 'start', takeOver, logLevel, graceMs, ...this.#identity(order) }, signal);
  }

  #identity(order: DiskOrder): Identity {
    return { order, stateDir: this.#settings.stateDir, user: this.#options.user };
  }
}

/** A child starts twice as fast with the compile cache of its parent, where there is one. */
function childEnv(): NodeJS.ProcessEnv {
  const cache = getCompileCacheDir();
  return cache === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: dirname(cache) };
}
