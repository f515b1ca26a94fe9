/**
 * Where things lie under a volume's prefix:
 *
 *   volume.json        what the volume is; written once, changed by conditional write
 *   owner.json         who may write
 *   map/XXXXXXXX       which chunks exist: one page of the presence map, page number in hexadecimal
 *   chunk/XXXXXXXXXXXX the data: one object per chunk, chunk number in hexadecimal
 */

export const VOLUME_KEY = 'volume.json';
export const OWNER_KEY = 'owner.json';
export const MAP_FOLDER = 'map/';
export const CHUNK_FOLDER = 'chunk/';

const CHUNK_DIGITS = 12;

/** The keys of one volume. */
export class Layout {
  readonly prefix: string;
  /** Ends with a slash. */
  readonly root: string;

  constructor(prefix: string) {
    this.prefix = prefix;
    this.root = `${prefix}/`;
  }

  get volume(): string {
    return this.root + VOLUME_KEY;
  }

  get owner(): string {
    return this.root + OWNER_KEY;
  }

  mapPage(page: number): string {
    return this.root + MAP_FOLDER + page.toString(16).padStart(8, '0');
  }

  get chunks(): string {
    return this.root + CHUNK_FOLDER;
  }

  chunk(index: number): string {
    return this.chunks + index.toString(16).padStart(CHUNK_DIGITS, '0');
  }

  /** The chunk number of a key, or undefined for a key that names no chunk. */
  chunkOf(key: string): number | undefined {
    const digits = key.startsWith(this.chunks) ? key.slice(this.chunks.length) : '';
    return /^[0-9a-f]{12}$/.test(digits) ? Number.parseInt(digits, 16) : undefined;
  }
}

/**
 * A chunk is read, cached and checksummed in this many equal lines: few enough that their checksums fit into the
 * object's metadata, and that a chunk's state is a 16-bit mask.
 */
export const LINES_PER_CHUNK = 16;

export const MIN_CHUNK_SIZE = 64 * 1024;
export const MAX_CHUNK_SIZE = 16 * 1024 * 1024;
export const DEFAULT_CHUNK_SIZE = 1024 * 1024;
