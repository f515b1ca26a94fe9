import type { StoreUnderTest } from './opened-disk.ts';
import type { Level } from './test-store.ts';

/** One thing that a backend has to do. */
export interface Check {
  readonly level: Level;
  /** A sentence about the backend, without its subject. */
  readonly title: string;
  /** Throws when the backend does not; `NotOffered` when it need not. */
  run(store: StoreUnderTest): Promise<void>;
}

/** The backend has not got what a check is about, and may do without. */
export class NotOffered extends Error {}

/** Bytes that the tests use: the beginning of the disk. */
export const PLAYGROUND = 4 * 2 ** 20;
