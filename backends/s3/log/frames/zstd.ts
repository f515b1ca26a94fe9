import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { Semaphore } from '../../../../core/plugin.ts';

/** Frames are small: beyond the fastest level little is gained. */
const LEVEL = 1;
/** Of what is decompressed, the most memory that its window may want: 2^17 bytes. Ours want no more than a frame. */
const MAX_WINDOW_LOG = 17;
/** Of the four threads of libuv one is left to files and names. */
const AT_ONCE = 3;

/** Compression of frames. */
export interface Zstd {
  compress(bytes: Uint8Array): Promise<Buffer>;
  /** Rejects when the result is longer than `most`, or when `bytes` are damaged. */
  decompress(bytes: Uint8Array, most: number): Promise<Buffer>;
}

/** What Node.js has, in the threads of libuv. */
export class NodeZstd implements Zstd {
  readonly #slots = new Semaphore(AT_ONCE);

  async compress(bytes: Uint8Array): Promise<Buffer> {
    using _slot = await this.#slots.acquire();
    const { length } = bytes;
    const params = { [constants.ZSTD_c_compressionLevel]: LEVEL };
    // The length makes it take small tables, and the chunk size one step: half the time of the defaults.
    const options = { params, pledgedSrcSize: length, chunkSize: length + 64 };
    return await new Promise((resolve, reject) =>
      zstdCompress(bytes, options, (error, result) => (error === null ? resolve(result) : reject(error))),
    );
  }

  async decompress(bytes: Uint8Array, most: number): Promise<Buffer> {
    using _slot = await this.#slots.acquire();
    const params = { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG };
    const options = { params, maxOutputLength: most, chunkSize: most };
    return await new Promise((resolve, reject) =>
      zstdDecompress(bytes, options, (error, result) => (error === null ? resolve(result) : reject(error))),
    );
  }
}
