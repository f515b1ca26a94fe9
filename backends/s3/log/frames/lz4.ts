import { Semaphore } from '../../../../core/plugin.ts';
import { type Compressor, THREADS } from './compression.ts';

/** In front of a block the package wants the length of what is in it, as a u32. We know that, and do not store it. */
const LENGTH_BYTES = 4;

/** Loaded when something is to be done: its native code takes 10 ms, and few volumes have LZ4. */
const load = (): Promise<typeof import('lz4-napi')> => import('lz4-napi');

/** Blocks of LZ4, in the threads of libuv. The package checks every length and distance, and never exceeds what it is told. */
export class NapiLz4 implements Compressor {
  readonly #slots = new Semaphore(THREADS);

  async compress(bytes: Uint8Array): Promise<Buffer> {
    using _slot = await this.#slots.acquire();
    const { compress } = await load();
    return (await compress(bytes)).subarray(LENGTH_BYTES);
  }

  async decompress(bytes: Uint8Array, most: number): Promise<Buffer> {
    using _slot = await this.#slots.acquire();
    const block = Buffer.allocUnsafe(LENGTH_BYTES + bytes.length);
    block.writeUInt32LE(most);
    block.set(bytes, LENGTH_BYTES);
    const { uncompress } = await load();
    return await uncompress(block);
  }
}
