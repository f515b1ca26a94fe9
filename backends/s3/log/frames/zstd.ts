import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { Semaphore } from '../../../../core/plugin.ts';
import { type Compressor, THREADS } from './compression.ts';

/** Frames are small: beyond the fastest level little is gained. */
const LEVEL = 1;
/** Of what is decompressed, the most memory that its window may want: 2^17 bytes. Ours want no more than a frame. */
const MAX_WINDOW_LOG = 17;

/** What Node.js has, in the threads of libuv. */
export class NodeZstd implements Compressor {
  readonly #slots = new Semaphore(THREADS);

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
