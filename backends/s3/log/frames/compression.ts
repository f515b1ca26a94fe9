/** How a writer stores frames. What is stored already says for itself how. */
export const COMPRESSIONS = ['none', 'lz4', 'zstd'] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** Of the four threads of libuv, those that compress: one is left to files and names. */
export const THREADS = 3;

/** Compression of frames. */
export interface Compressor {
  compress(bytes: Uint8Array): Promise<Buffer>;
  /** Rejects when the result is longer than `most`, or when `bytes` are damaged. */
  decompress(bytes: Uint8Array, most: number): Promise<Buffer>;
}

export type Compressors = Record<Exclude<Compression, 'none'>, Compressor>;
