import type { ChunkStore } from './chunk-store.ts';
import { LINES_PER_CHUNK } from './layout.ts';

const ALL_LINES = 2 ** LINES_PER_CHUNK - 1;

/** Chunks fetched ahead of a sequential read: enough to hide the latency of a store some 20 ms away. */
const MAX_READ_AHEAD = 4;

/** Lines of a chunk by number; those that were not asked for are missing. */
export type Lines = (Uint8Array | undefined)[];

export type FetchOutcome =
  | 'ok'
  /** The chunk has no object. */
  | 'missing'
  /** The chunk was changed meanwhile: look again at what is buffered and what exists. */
  | 'stale';

/** One GET under way: consecutive lines of one chunk. */
interface Fetch {
  readonly first: number;
  readonly lines: readonly Uint8Array[];
  stale: boolean;
  done: Promise<'ok' | 'missing'>;
}

/**
 * What the store holds of chunks, line by line: recently used lines stay, and whoever wants a line that is already on
 * its way waits for the same answer.
 */
export class ReadCache {
  readonly #chunks: ChunkStore;
  readonly #maxLines: number;
  /** By chunk × LINES_PER_CHUNK + line; the first is the one unused for longest. */
  readonly #cached = new Map<number, Uint8Array>();
  readonly #fetching = new Map<number, Fetch[]>();

  /** @param bytes keeps at most this much; requests under way come on top. */
  constructor(chunks: ChunkStore, bytes: number) {
    this.#chunks = chunks;
    this.#maxLines = Math.floor(bytes / chunks.lineSize);
  }

  get lineSize(): number {
    return this.#chunks.lineSize;
  }

  /** How many chunks may be fetched ahead without driving out what is in use. */
  get readAheadChunks(): number {
    return Math.min(MAX_READ_AHEAD, Math.floor(this.#maxLines / LINES_PER_CHUNK / 4));
  }

  /** How many lines may be asked for at once for nobody yet, for the same reason. */
  get spareLines(): number {
    return Math.floor(this.#maxLines / 4);
  }

  /** The line if it is in memory. */
  peek(chunk: number, line: number): Uint8Array | undefined {
    const key = chunk * LINES_PER_CHUNK + line;
    const found = this.#cached.get(key);
    if (found === undefined) return undefined;
    this.#cached.delete(key);
    this.#cached.set(key, found);
    return found;
  }

  /**
   * Puts the lines of `mask` (bit n: line n) into `into`, from memory or from the store. Lines next to each other come
   * with one request. Fails with EIO when the object is damaged.
   */
  async fetch(chunk: number, mask: number, into: Lines): Promise<FetchOutcome> {
    const fetches = new Set<Fetch>();
    let missing = 0;
    for (let line = 0; line < LINES_PER_CHUNK; line++) {
      if ((mask & (1 << line)) === 0) continue;
      const cached = this.peek(chunk, line);
      if (cached !== undefined) {
        into[line] = cached;
        continue;
      }
      const running = this.#running(chunk, line);
      if (running) fetches.add(running);
      else missing |= 1 << line;
    }
    for (let line = 0; line < LINES_PER_CHUNK; line++) {
      if ((missing & (1 << line)) === 0) continue;
      let count = 1;
      while ((missing & (1 << (line + count))) !== 0) count++;
      fetches.add(this.#start(chunk, line, count));
      line += count;
    }
    const outcomes = await Promise.all([...fetches].map(({ done }) => done));
    for (const fetch of fetches) if (fetch.stale) return 'stale';
    if (outcomes.includes('missing')) return 'missing';
    for (const { first, lines } of fetches) {
      for (const [i, buffer] of lines.entries()) into[first + i] = buffer;
    }
    return 'ok';
  }

  /** Fetches what is not in memory of a chunk, for nobody yet. A failure is for the read that needs it to report. */
  prefetch(chunk: number): void {
    if (this.#fetching.has(chunk)) return;
    this.fetch(chunk, ALL_LINES, []).catch(() => {});
  }

  /** Forgets a chunk, also what is on its way: its object was replaced or deleted. */
  invalidate(chunk: number): void {
    for (let line = 0; line < LINES_PER_CHUNK; line++) this.#cached.delete(chunk * LINES_PER_CHUNK + line);
    for (const fetch of this.#fetching.get(chunk) ?? []) fetch.stale = true;
    this.#fetching.delete(chunk);
  }

  #running(chunk: number, line: number): Fetch | undefined {
    return this.#fetching
      .get(chunk)
      ?.find(({ first, lines }) => line >= first && line < first + lines.length);
  }

  #start(chunk: number, first: number, count: number): Fetch {
    const lines = Array.from({ length: count }, () => Buffer.allocUnsafeSlow(this.lineSize));
    const fetch: Fetch = { first, lines, stale: false, done: Promise.resolve('missing' as const) };
    fetch.done = this.#run(chunk, fetch);
    const running = this.#fetching.get(chunk);
    if (running) running.push(fetch);
    else this.#fetching.set(chunk, [fetch]);
    return fetch;
  }

  async #run(chunk: number, fetch: Fetch): Promise<'ok' | 'missing'> {
    try {
      const found = await this.#chunks.readLines(chunk, fetch.first, fetch.lines);
      if (found && !fetch.stale) this.#keep(chunk, fetch);
      return found ? 'ok' : 'missing';
    } finally {
      if (!fetch.stale) this.#forget(chunk, fetch);
    }
  }

  #keep(chunk: number, { first, lines }: Fetch): void {
    for (const [i, line] of lines.entries()) this.#cached.set(chunk * LINES_PER_CHUNK + first + i, line);
    for (const key of this.#cached.keys()) {
      if (this.#cached.size <= this.#maxLines) break;
      this.#cached.delete(key);
    }
  }

  #forget(chunk: number, fetch: Fetch): void {
    const left = this.#fetching.get(chunk)?.filter((other) => other !== fetch) ?? [];
    if (left.length === 0) this.#fetching.delete(chunk);
    else this.#fetching.set(chunk, left);
  }
}
