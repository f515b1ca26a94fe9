// hot path: see ARCHITECTURE.md "Data plane"

import { copyIn, type IoVec } from '../../../core/plugin.ts';

/** Reads `count` frames from `first` on. */
export type ReadFrames = (first: number, count: number) => Promise<readonly Buffer[]>;

/**
 * Frames in memory, by number, and those on their way: whoever wants one that is asked for already waits for the same
 * answer.
 */
export class FrameMemory {
  readonly #frameBytes: number;
  readonly #maxFrames: number;
  /** The first is the one unused for longest. */
  readonly #frames = new Map<number, Buffer>();
  readonly #coming = new Map<number, Promise<Buffer>>();
  #hits = 0;
  #misses = 0;

  /**
   * @param bytes keeps at most this much.
   * @param frameBytes of one frame.
   */
  constructor(bytes: number, frameBytes: number) {
    this.#frameBytes = frameBytes;
    this.#maxFrames = Math.floor(bytes / frameBytes);
  }

  /** For `blockgate status`. */
  status(): string {
    return `${this.#hits} hits, ${this.#misses} misses, ${this.#frames.size * this.#frameBytes} bytes`;
  }

  /** How many frames may be fetched ahead without driving out what is in use. */
  get spare(): number {
    return Math.floor(this.#maxFrames / 4);
  }

  /** How many frames more there is room for. */
  get free(): number {
    return this.#maxFrames - this.#frames.size;
  }

  peek(frame: number): Buffer | undefined {
    const found = this.#find(frame);
    if (found !== undefined) this.#hits++;
    return found;
  }

  /** Whether it is here, or on its way. */
  has(frame: number): boolean {
    return this.#frames.has(frame) || this.#coming.has(frame);
  }

  /** Frames `first` … `first` + `count` - 1. What is not here is read in runs of at most `most`; rejects as `read` does. */
  fetch(first: number, count: number, most: number, read: ReadFrames): Promise<Buffer[]> {
    const wanted: Promise<Buffer>[] = [];
    const end = first + count;
    for (let frame = first; frame < end; ) {
      const there = this.#at(frame);
      if (there !== undefined) {
        wanted.push(there);
        frame++;
        continue;
      }
      let run = 1;
      while (run < most && frame + run < end && this.#at(frame + run) === undefined) run++;
      wanted.push(...this.#start(frame, run, read));
      frame += run;
    }
    return Promise.all(wanted);
  }

  keep(frame: number, bytes: Buffer): void {
    this.#frames.set(frame, bytes);
    for (const oldest of this.#frames.keys()) {
      if (this.#frames.size <= this.#maxFrames) break;
      this.#frames.delete(oldest);
    }
  }

  #find(frame: number): Buffer | undefined {
    const found = this.#frames.get(frame);
    if (found === undefined) return undefined;
    this.#frames.delete(frame);
    this.#frames.set(frame, found);
    return found;
  }

  #at(frame: number): Promise<Buffer> | undefined {
    const found = this.#find(frame);
    return found === undefined ? this.#coming.get(frame) : Promise.resolve(found);
  }

  #start(first: number, count: number, read: ReadFrames): Promise<Buffer>[] {
    this.#misses += count;
    // In one step: in between, somebody would ask for what has just come.
    const all = read(first, count).then(
      (frames) => {
        for (let i = 0; i < count; i++) {
          this.#coming.delete(first + i);
          this.keep(first + i, frames[i]!);
        }
        return frames;
      },
      (error: unknown) => {
        for (let i = 0; i < count; i++) this.#coming.delete(first + i);
        throw error;
      },
    );
    return Array.from({ length: count }, (_, i) => {
      const one = all.then((frames) => frames[i]!);
      // Somebody may have stopped waiting.
      one.catch(() => undefined);
      this.#coming.set(first + i, one);
      return one;
    });
  }
}

/** What is missing of a run of frames comes with one request. `read` counts from the beginning of the run. */
export async function fillGaps(found: readonly (Buffer | undefined)[], read: ReadFrames): Promise<Buffer[]> {
  const from = found.indexOf(undefined);
  if (from < 0) return found as Buffer[];
  const to = found.lastIndexOf(undefined) + 1;
  return [...found.slice(0, from), ...(await read(from, to - from)), ...found.slice(to)] as Buffer[];
}

/** `length` bytes from byte `skip` of `frames` on, each of `frameBytes` but the last, to byte `at` of `iov`. */
export function copyFrames(
  frames: readonly Buffer[],
  frameBytes: number,
  skip: number,
  length: number,
  iov: IoVec,
  at = 0,
): void {
  const end = skip + length;
  for (const [i, frame] of frames.entries()) {
    const from = Math.max(0, skip - i * frameBytes);
    const to = Math.min(frame.length, end - i * frameBytes);
    copyIn(iov, frame.subarray(from, to), at + i * frameBytes + from - skip);
  }
}
