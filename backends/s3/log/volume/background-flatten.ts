import { backoffMs, formatSize, type OpenContext, sleep } from '../../../../core/plugin.ts';
import type { S3Config } from '../../config.ts';
import type { DiskSession } from '../../disk-session.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { FrameCache } from '../cache/frame-cache.ts';
import type { LogSource } from '../log-source.ts';
import { mapPages } from '../map/block-map.ts';
import { BLOCK } from '../object-header.ts';
import type { LogWriter } from '../writer.ts';
import { letParentGo } from './clones.ts';
import { Flattening } from './flattening.ts';
import { type LogRecord, originOf } from './volume-record.ts';

/** Copied at once: a flush of the guest may have to wait for that much. 4 MiB, in blocks. */
const BATCH = 1024;
/** And no larger a part of the memory for what is written, which the guest needs. */
const SHARE = 1 / 8;
/** Rests so many times as long as copying took, alone, and while requests of others wait; but not longer. Milliseconds. */
const REST = { alone: 1, busy: 4, most: 10_000 } as const;
/** After what did not succeed. */
const AGAIN = { baseMs: 60_000, maxMs: 3_600_000 } as const;
/** Reads of the guest that are under way may still need the parent. */
const SETTLE_MS = 1000;
const SETTLE_TRIES = 5;

export interface BackgroundFlattenOptions {
  readonly writer: LogWriter;
  /** Its store gives up some time. */
  readonly source: LogSource;
  readonly frames: Pick<FrameCache, 'readAside'>;
  readonly record: Pick<LogRecord, 'uuid' | 'parent' | 'image'>;
  readonly config: Pick<S3Config, 'writeBuffer' | 'mapCache'>;
  readonly logger: OpenContext['logger'];
  /** Somebody waits to send a request. */
  readonly isBusy: () => boolean;
  /** How long to wait after what did not succeed. Milliseconds. */
  readonly again?: { readonly baseMs: number; readonly maxMs: number };
}

/**
 * Makes a volume that is in use need its parent, or the image that it began as, no more, while the guest goes on. Copies in small parts and rests in between.
 * What was copied is known by the map, so whoever opens the volume next goes on where this was stopped.
 */
export class BackgroundFlatten {
  readonly #options: BackgroundFlattenOptions;
  readonly #flattening: Flattening;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  /** What keeps it from going on, or that it is over; undefined: it copies. */
  #state: string | undefined;
  #isKnown = false;
  /** Of this round: what could not be read. */
  #unreadable: unknown;

  constructor(options: BackgroundFlattenOptions) {
    this.#options = options;
    const { writer, source, frames, config } = options;
    this.#flattening = new Flattening({
      ...{ writer, source, frames, mapPages: mapPages(config) },
      batch: Math.max(1, Math.min(BATCH, Math.floor((config.writeBuffer * SHARE) / BLOCK))),
      isStopped: () => this.#isStopped,
      onUnreadable: (error) => this.#skip(error),
    });
    this.#running = this.#run();
  }

  /** For `blockgate status`. */
  status(): Record<string, string> {
    const left = this.#isKnown ? `${formatSize(this.#flattening.left)} left` : 'looking what is left';
    return { flatten: this.#state ?? left };
  }

  /** Settles when it is over, or has given up for this disk. */
  get over(): Promise<void> {
    return this.#running;
  }

  /** Nothing more is copied; what was copied is in the store when this settles. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the disk is closed'));
    const { appender } = this.#options.writer;
    if (appender.failure !== undefined) return;
    // A failure is for those who close the disk to find.
    await Promise.resolve(appender.flushToStore()).catch(() => undefined);
  }

  /** What a read or a request comes to after that is of no use any more. */
  get #isStopped(): boolean {
    return this.#stopping.signal.aborted || this.#options.writer.appender.failure !== undefined;
  }

  async #run(): Promise<void> {
    const { logger, again = AGAIN } = this.#options;
    for (let attempt = 0; !this.#isStopped; attempt++) {
      let reason: unknown = 'something of the parent is still in use';
      try {
        if (await this.#flatten()) return;
        reason = this.#unreadable ?? reason;
      } catch (error) {
        reason = error;
      }
      // Somebody may have taken the volume, and deleted what is looked for here: who tries to change the head finds out.
      if (!this.#isStopped) await this.#options.writer.change(() => ({})).catch(() => undefined);
      if (this.#isStopped) return;
      const delay = again.baseMs / 2 + backoffMs(attempt, again);
      this.#state = `trying again: ${reasonOf(reason)}`;
      logger.warn('the parent of the volume cannot be let go yet; trying again', {
        reason: reasonOf(reason),
        seconds: Math.round(delay / 1000),
      });
      await sleep(delay, this.#stopping.signal).catch(() => undefined);
      this.#state = undefined;
    }
  }

  /** False: it has to be tried again. */
  async #flatten(): Promise<boolean> {
    const { writer, source, record, logger } = this.#options;
    if (writer.head.isFlat !== true) {
      if (await this.#isNeededBySnapshots()) return true;
      await writer.recovered.stored.knowObjects();
      this.#isKnown = true;
      logger.info('the volume is being made independent of what it began as', {
        origin: originOf(record),
        bytes: this.#flattening.left,
      });
      if (!(await this.#copy())) return this.#isStopped;
      // Somebody may have made one since.
      if (await this.#isNeededBySnapshots()) return true;
      if (!(await this.#flattening.mark())) return false;
    }
    await letParentGo(source.store, record);
    this.#state = 'done';
    logger.info('the volume needs what it began as no more', { origin: originOf(record) });
    return true;
  }

  /** False: something of it could not be read or is being read, or the disk is closed. */
  async #copy(): Promise<boolean> {
    const { writer, isBusy } = this.#options;
    this.#unreadable = undefined;
    let start = performance.now();
    for await (const { hasCopied } of this.#flattening.copyAll()) {
      if (!hasCopied) {
        // Of many pages in memory none takes a turn of the event loop.
        await sleep(0, this.#stopping.signal);
        continue;
      }
      await writer.appender.flushToStore();
      const took = performance.now() - start;
      const rest = took * (isBusy() ? REST.busy : REST.alone);
      await sleep(Math.min(rest, REST.most), this.#stopping.signal);
      start = performance.now();
    }
    if (this.#unreadable !== undefined) return false;
    for (let tries = 1; !this.#isStopped; tries++) {
      if (await this.#flattening.settle()) return true;
      if (tries === SETTLE_TRIES) return false;
      await sleep(SETTLE_MS, this.#stopping.signal);
    }
    return false;
  }

  /** Snapshots of a volume that is open stay, so nothing changes that before it is opened the next time. */
  async #isNeededBySnapshots(): Promise<boolean> {
    const needing = await this.#flattening.needing();
    if (needing.length === 0) return false;
    const snapshots = needing.map((name) => `"${name}"`).join(', ');
    this.#state = `waiting: snapshots need the parent: ${snapshots}`;
    this.#options.logger.warn(
      'the volume goes on needing its parent, as snapshots of it do; when they are deleted, start the disk again',
      { snapshots },
    );
    return true;
  }

  /** The rest can be copied all the same. */
  #skip(error: unknown): void {
    if (this.#isStopped) throw error;
    if (this.#unreadable === undefined)
      this.#options.logger.warn('something of the parent cannot be read, and is not copied', {
        reason: reasonOf(error),
      });
    this.#unreadable ??= error;
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** As the configuration says. Undefined: there is nothing to be done. */
export function flattenInBackground(
  { starting, isBusy, undo }: Pick<DiskSession, 'starting' | 'isBusy' | 'undo'>,
  config: S3Config,
  { logger }: OpenContext,
  parts: Pick<BackgroundFlattenOptions, 'writer' | 'frames' | 'record'> & Omit<LogSource, 'store'>,
): BackgroundFlatten | undefined {
  if (!config.flatten || originOf(parts.record) === undefined) return undefined;
  const store: ObjectStore = starting;
  const flatten = new BackgroundFlatten({
    ...parts,
    source: { store, names: parts.names, key: parts.key },
    ...{ config, logger, isBusy },
  });
  undo.defer(() => flatten.stop());
  return flatten;
}
