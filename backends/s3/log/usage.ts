import { BLOCK } from './object-header.ts';

/** What the objects of a volume hold. */
export interface Usage {
  /** Blocks of data. */
  readonly blocks: number;
  /** Bytes as they are stored. */
  readonly stored: number;
}

/** How many bytes of data one stored byte holds, in two digits. */
export const compressionRatio = ({ blocks, stored }: Usage): number =>
  stored === 0 ? 1 : Number(((blocks * BLOCK) / stored).toFixed(2));
