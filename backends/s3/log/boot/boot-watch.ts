// hot path: see ARCHITECTURE.md "Data plane"

import { formatSize, type Logger } from '../../../../core/plugin.ts';
import type { S3Config } from '../../config.ts';
import type { LogSource } from '../log-source.ts';
import type { LogRecord } from '../volume/volume-record.ts';
import { MAX_UNITS, UNIT } from './profile.ts';
import { BootReplay, type ReplayOptions } from './replay.ts';
import { readProfile, writeProfile } from './stored-profile.ts';

/** Reading less is no boot: whoever looks for partitions does. Units: 1 MiB. */
const MIN_UNITS = 16;

const DEFAULTS: BootOptions = { seconds: 60, record: true };

type BootOptions = Exclude<S3Config['bootProfile'], boolean>;

/** Undefined: nothing is to be done. */
export function bootOptions({ bootProfile }: Pick<S3Config, 'bootProfile'>): BootOptions | undefined {
  if (bootProfile === false) return undefined;
  return bootProfile === true ? DEFAULTS : bootProfile;
}

export interface BootParts {
  /** Its store gives up soon: nobody waits for a profile. */
  readonly source: LogSource;
  readonly volume: Pick<LogRecord, 'uuid' | 'parent'>;
  readonly replay: Omit<ReplayOptions, 'units' | 'wasRead' | 'onFailed'>;
  readonly logger: Logger;
}

/**
 * Watches which units a guest reads while it boots, fetches those of its last boot before it asks for them, and stores those
 * of this one. What goes wrong with that makes a boot slower, and nothing else.
 */
export class BootWatch {
  readonly #options: BootOptions;
  readonly #parts: BootParts;
  /** In the order of the first read. */
  readonly #units = new Set<number>();
  readonly #loading: Promise<void>;
  #replay: BootReplay | undefined;
  /** Units of the profile that there is; undefined: it is not known yet. */
  #known: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isWatching = true;
  /** What became of the recording. */
  #outcome: string | undefined;
  #writing: Promise<void> | undefined;

  /** Begins to fetch what the last boot read. */
  constructor(options: BootOptions, parts: BootParts) {
    this.#options = options;
    this.#parts = parts;
    this.#loading = this.#load();
  }

  /** Whether `read` and `wrote` are to be called. */
  get isWatching(): boolean {
    return this.#isWatching;
  }

  /** The guest reads these bytes. Returns whether they were fetched ahead: then it boots as before. */
  read(offset: number, length: number): boolean {
    this.#timer ??= setTimeout(() => this.#end(), this.#options.seconds * 1000).unref();
    const units = this.#units;
    const last = Math.floor((offset + length - 1) / UNIT);
    let isForeseen = this.#replay !== undefined;
    for (let unit = Math.floor(offset / UNIT); unit <= last; unit++) {
      isForeseen &&= this.#replay!.has(unit);
      if (units.has(unit)) continue;
      units.add(unit);
      this.#replay?.read(unit);
      if (units.size === MAX_UNITS) {
        this.#end();
        break;
      }
    }
    return isForeseen;
  }

  /** The guest writes. One that boots has read the beginning of the disk before; one whose gateway was restarted has not. */
  wrote(): void {
    if (!this.#units.has(0)) this.#end();
  }

  /** For `blockgate status`. */
  status(): Record<string, string> {
    const words = [this.#replayWords()];
    if (this.#options.record) words.push(this.#outcome ?? `recording, ${this.#size}`);
    return { 'boot profile': words.join('; ') };
  }

  /**
   * Stores what was recorded, if the guest had as much time as it needed the last time. Waits for the store, which gives up
   * soon.
   */
  async close(): Promise<void> {
    if (this.#isWatching && this.#units.size >= (this.#known ?? Number.POSITIVE_INFINITY)) this.#end();
    this.#stop();
    await Promise.all([this.#loading, this.#writing]);
  }

  get #size(): string {
    return formatSize(this.#units.size * UNIT);
  }

  #replayWords(): string {
    if (this.#replay === undefined) return this.#known === undefined ? 'not read' : 'none to replay';
    const { fetched, total, isOver } = this.#replay.progress;
    return isOver
      ? `replayed ${formatSize(fetched)}`
      : `replaying, ${formatSize(fetched)} of ${formatSize(total)}`;
  }

  /** The guest has booted. */
  #end(): void {
    this.#stop();
    if (!this.#options.record) return;
    if (this.#units.size < MIN_UNITS || !this.#units.has(0)) {
      this.#outcome = 'not recorded: this was no boot';
      return;
    }
    const { source, volume, logger } = this.#parts;
    this.#outcome = 'being stored';
    this.#writing = writeProfile(source, volume, this.#units).then(
      () => {
        this.#outcome = `recorded ${this.#size}`;
      },
      (error: unknown) => {
        this.#outcome = 'not recorded: the store did not take it';
        logger.debug('the boot profile could not be stored', { reason: String(error) });
      },
    );
  }

  #stop(): void {
    this.#isWatching = false;
    clearTimeout(this.#timer);
    this.#replay?.stop();
  }

  async #load(): Promise<void> {
    const { source, volume, replay, logger } = this.#parts;
    try {
      const units = await readProfile(source, volume);
      if (typeof units === 'string') logger.warn('the boot profile cannot be used', { reason: units });
      this.#known = typeof units === 'object' ? units.length : 0;
      if (typeof units !== 'object' || !this.#isWatching) return;
      this.#replay = new BootReplay({
        ...replay,
        units,
        wasRead: (unit) => this.#units.has(unit),
        onFailed: (error) =>
          logger.debug('a part of the boot profile could not be fetched', { reason: String(error) }),
      });
    } catch (error) {
      logger.debug('the boot profile could not be read', { reason: String(error) });
    }
  }
}
