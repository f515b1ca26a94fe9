import type { FrameCache } from '../cache/frame-cache.ts';
import { BLOCK, FRAME } from '../object-header.ts';
import type { LogReader } from '../reader.ts';
import { rangesOf, UNIT } from './profile.ts';

/** Units that are looked at together, so that neighbours among them are read with one request. */
const BATCH = 32;
/** Of one request, at most. Units. */
const RUN = 16;

const UNIT_BLOCKS = UNIT / BLOCK;
const UNIT_FRAMES = UNIT / FRAME;

type Run = Parameters<FrameCache['fetch']>;

/** Blocks of which is not known yet where they are. */
interface Piece {
  readonly lba: number;
  readonly blocks: number;
}

export interface ReplayOptions {
  /** In the order in which they will be wanted. */
  readonly units: readonly number[];
  /** Blocks of the disk. */
  readonly blocks: number;
  readonly reader: Pick<LogReader, 'stored'>;
  readonly frames: Pick<FrameCache, 'spare' | 'free' | 'fetch'>;
  /** At once. */
  readonly maxRequests: number;
  /** Somebody waits to send a request. */
  readonly isBusy: () => boolean;
  /** The guest has read this unit already. */
  readonly wasRead: (unit: number) => boolean;
  readonly onFailed: (error: unknown) => void;
}

/**
 * Reads ahead of a guest that boots, in the order of its last boot. So far ahead that three quarters of the memory for reads
 * are taken, as long as that much is free; then only as far as a quarter of it holds what was fetched and not read yet. A
 * guest that does something else than it did makes it stop there by itself.
 */
export class BootReplay {
  readonly #options: ReplayOptions;
  readonly #all: ReadonlySet<number>;
  #next = 0;
  readonly #taken = new Set<number>();
  /** Fetched, and not read yet, in order; with the `#hits` by which each will have been read, or left out. */
  readonly #ahead = new Map<number, number>();
  /** Units of the profile that the guest has read. */
  #hits = 0;
  #pieces: Piece[] = [];
  #runs: Run[] = [];
  /** Frames that are on their way, or will be next: as many as there are or more. */
  #pending = 0;
  #inFlight = 0;
  #fetched = 0;
  #stopped = false;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#all = new Set(options.units);
    this.#pump();
  }

  /** Bytes that were fetched, and those of the profile. */
  get progress(): { readonly fetched: number; readonly total: number; readonly isOver: boolean } {
    const { units } = this.#options;
    const isThrough = this.#next === units.length && this.#pending === 0 && this.#inFlight === 0;
    return {
      fetched: this.#fetched,
      total: units.length * UNIT,
      isOver: isThrough || (this.#stopped && this.#inFlight === 0),
    };
  }

  /** Whether it was fetched, or is on its way. */
  has(unit: number): boolean {
    return this.#taken.has(unit);
  }

  /** The guest reads this unit for the first time. */
  read(unit: number): void {
    if (!this.#all.has(unit)) return;
    this.#hits++;
    // One that is further than we are has passed by all of them.
    if (this.#taken.has(unit)) this.#ahead.delete(unit);
    else this.#ahead.clear();
    for (const [passed, due] of this.#ahead) {
      if (this.#hits < due) break;
      this.#ahead.delete(passed);
    }
    this.#pump();
  }

  /** Nothing more is asked for; what is on its way belongs to the cache. */
  stop(): void {
    this.#stopped = true;
    this.#pieces = [];
    this.#runs = [];
  }

  #pump(): void {
    const { maxRequests, isBusy } = this.#options;
    while (!this.#stopped && this.#inFlight < (isBusy() ? 1 : maxRequests)) {
      const run = this.#runs.shift();
      if (run !== undefined) {
        this.#fetch(run);
        continue;
      }
      const piece = this.#pieces.shift();
      if (piece !== undefined) this.#locate(piece);
      else if (!this.#nextPieces()) return;
    }
  }

  #fetch(run: Run): void {
    const [, , count] = run;
    this.#wait(
      this.#options.frames.fetch(...run).then(() => {
        this.#fetched += count * FRAME;
      }),
      () => {
        this.#pending -= count;
      },
    );
  }

  /** What of it the store has is fetched next. */
  #locate({ lba, blocks }: Piece): void {
    const located = (): void => {
      this.#pending -= Math.ceil(blocks / UNIT_BLOCKS) * UNIT_FRAMES;
    };
    const loading = this.#options.reader.stored(lba, blocks, (...run) => {
      if (this.#stopped) return;
      this.#runs.push(run);
      this.#pending += run[2];
    });
    if (loading === undefined) located();
    else this.#wait(loading, located);
  }

  #wait(request: Promise<void>, over: () => void): void {
    this.#inFlight++;
    void request.catch(this.#options.onFailed).finally(() => {
      this.#inFlight--;
      over();
      this.#pump();
    });
  }

  /** Of the next batch, in the order of the disk. Returns false when there is none yet. */
  #nextPieces(): boolean {
    const batch = this.#take().sort((a, b) => a - b);
    for (const { first, count } of rangesOf(batch))
      for (let at = first; at < first + count; at += RUN) {
        const lba = at * UNIT_BLOCKS;
        const end = Math.min(this.#options.blocks, Math.min(first + count, at + RUN) * UNIT_BLOCKS);
        if (lba >= end) continue;
        this.#pieces.push({ lba, blocks: end - lba });
        this.#pending += Math.ceil((end - lba) / UNIT_BLOCKS) * UNIT_FRAMES;
      }
    return batch.length > 0;
  }

  #take(): number[] {
    const { units, frames, wasRead } = this.#options;
    const taken: number[] = [];
    while (taken.length < BATCH && this.#next < units.length) {
      const coming = this.#pending + taken.length * UNIT_FRAMES;
      const fits = coming + frames.spare + UNIT_FRAMES <= frames.free;
      if (!fits && (this.#ahead.size + 1) * UNIT_FRAMES > frames.spare) break;
      const unit = units[this.#next++]!;
      // Those before it, and a quarter of the memory more, in which it may come late.
      const due = this.#hits + this.#ahead.size + frames.spare / UNIT_FRAMES;
      if (!wasRead(unit)) this.#ahead.set(unit, due);
      this.#taken.add(unit);
      taken.push(unit);
    }
    return taken;
  }
}
