import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { Compressor } from '../../backends/s3/log/frames/compression.ts';
import type { World } from './world.ts';

/** Compression that takes time of the world. */
export class SimZstd implements Compressor {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  async compress(bytes: Uint8Array): Promise<Buffer> {
    await this.#wait();
    return zstdCompressSync(bytes, { pledgedSrcSize: bytes.length });
  }

  async decompress(bytes: Uint8Array, most: number): Promise<Buffer> {
    await this.#wait();
    return zstdDecompressSync(bytes, { maxOutputLength: most });
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.#world.below(20)));
  }
}
