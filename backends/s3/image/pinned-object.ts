// hot path: see ARCHITECTURE.md "Data plane"

import { BlockError, type IoVec, type Logger } from '../../../core/plugin.ts';
import { toBlockError } from '../errors.ts';
import type { ObjectInfo, ObjectStore } from '../store/object-store.ts';
import type { Image } from './find-image.ts';

/** Reads one object as it was when the disk was opened, and nothing else that may be in its place by now. */
export class PinnedObject {
  readonly image: Image;
  readonly #store: ObjectStore;
  readonly #logger: Logger;
  #problem: string | undefined;

  constructor(store: ObjectStore, image: Image, logger: Logger) {
    this.#store = store;
    this.image = image;
    this.#logger = logger;
  }

  /** What the last answer of the store said against it, if anything. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Fills `into` from byte `offset` on. Throws a `BlockError`, EIO where the object is another one or gone; `into` is garbage then. */
  async read(offset: number, into: IoVec): Promise<void> {
    const info = await this.#answer(offset, into);
    const problem = this.#against(info);
    this.#tell(problem);
    if (problem !== undefined) throw new BlockError('EIO', `the image ${this.image.key} ${problem}`);
  }

  async #answer(offset: number, into: IoVec): Promise<ObjectInfo | undefined> {
    try {
      return await this.#store.read(this.image.key, offset, into);
    } catch (error) {
      throw toBlockError(error);
    }
  }

  #against(info: ObjectInfo | undefined): string | undefined {
    const { etag, size } = this.image;
    if (info === undefined) return 'is missing from the bucket';
    if (info.etag === etag && info.size === size) return undefined;
    return `was replaced: it has the ETag ${info.etag} and ${info.size} bytes now`;
  }

  /** Once for each change, not once for each request. */
  #tell(problem: string | undefined): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    const { key, etag, size } = this.image;
    if (problem === undefined) this.#logger.warn('the image is again what it was', { key, etag });
    else
      this.#logger.error('the image is not what it was; what is not in a cache cannot be read', {
        key,
        opened: `ETag ${etag}, ${size} bytes`,
        why: problem,
      });
  }
}
