import type { Logger } from '../api/logger.ts';
import type { ObjectWriter } from './object-writer.ts';

/** What buckets and uploads need of the store around them. */
export interface StoreContext {
  readonly fsync: boolean;
  readonly logger: Logger | undefined;
  /** A new temporary file, on the same file system as all buckets. */
  createWriter(): Promise<ObjectWriter>;
  /** Counts one object more; throws `InsufficientStorage` at the limit. */
  reserveObject(): void;
  releaseObject(): void;
}
