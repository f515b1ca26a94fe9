const RECENT = 1024;

/**
 * The keys of a volume. The part in braces decides in a cluster which node has a key: all keys of a shard are together,
 * so that one script reaches them.
 *
 *     bg:{<volume>:<shard>}:o          owner: <epoch>:<nonce>.<claims>
 *     bg:{<volume>:<shard>}:p          presence bitmap: bit n is set when the shard's chunk n exists
 *     bg:{<volume>:<shard>}:c:<hex>    chunk
 *     bg:{<volume>:0}:m                hash that describes the volume
 *     bg:{<volume>:0}:h                who has it open; expires when that one does not say so any more
 */
export class KeySpace {
  readonly volume: string;
  readonly shards: number;
  /** Of a shard. */
  readonly #prefixes: readonly string[];
  /** Of chunks that were used last: putting a key together costs more than finding it. */
  readonly #chunks = new Float64Array(RECENT).fill(-1);
  readonly #names: string[] = Array.from({ length: RECENT }, () => '');

  /** `shards`: a power of two. */
  constructor(volume: string, shards: number) {
    this.volume = volume;
    this.shards = shards;
    this.#prefixes = Array.from({ length: shards }, (_, shard) => `bg:{${volume}:${shard}}:`);
  }

  /** Neighbouring chunks are in different shards. */
  shardOf(chunk: number): number {
    return chunk & (this.shards - 1);
  }

  /** Its number within the shard. */
  bitOf(chunk: number): number {
    return Math.floor(chunk / this.shards);
  }

  chunkAt(shard: number, bit: number): number {
    return bit * this.shards + shard;
  }

  owner(shard: number): string {
    return `${this.#prefix(shard)}o`;
  }

  presence(shard: number): string {
    return `${this.#prefix(shard)}p`;
  }

  chunk(chunk: number): string {
    const place = chunk % RECENT;
    if (this.#chunks[place] !== chunk) {
      this.#names[place] = `${this.#prefix(this.shardOf(chunk))}c:${this.bitOf(chunk).toString(16)}`;
      this.#chunks[place] = chunk;
    }
    return this.#names[place]!;
  }

  get description(): string {
    return descriptionKey(this.volume);
  }

  /** A pattern for SCAN. */
  get anyChunk(): string {
    return `bg:{${this.volume}:*}:c:*`;
  }

  get holder(): string {
    return `${this.#prefix(0)}h`;
  }

  #prefix(shard: number): string {
    return this.#prefixes[shard]!;
  }
}

export const descriptionKey = (volume: string): string => `bg:{${volume}:0}:m`;
/** A pattern for SCAN that finds every volume. */
export const ANY_DESCRIPTION = 'bg:{*:0}:m';
export const volumeOfKey = (key: string): string | undefined => /^bg:\{(.+):0\}:m$/.exec(key)?.[1];
