/** How a writer stores frames. What is stored already says for itself how. */
export const COMPRESSIONS = ['none', 'zstd'] as const;
export type Compression = (typeof COMPRESSIONS)[number];
