import type { Logger } from '../../../core/plugin.ts';
import type { ObjectStore, PutOptions } from '../store/object-store.ts';
import { isStoreError } from '../store/store-error.ts';
import type { Ownership } from './owner.ts';

/** What we know of an object before replacing it: its ETag, that there is none, or nothing. */
export type Expected = { readonly etag: string } | 'absent' | 'unknown';

/**
 * Writes objects that only the owner of the volume may write. Every write is conditional on the object being what it
 * was when we last saw it, for two reasons: a request of our own that timed out may reach the store after its
 * successor and would put old data over new; and a gateway that lost the volume without noticing is stopped by the
 * first object that the new owner has written.
 */
export class OwnedObjects {
  readonly #store: ObjectStore;
  readonly #ownership: Ownership;
  readonly #logger: Logger;

  constructor(store: ObjectStore, ownership: Ownership, logger: Logger) {
    this.#store = store;
    this.#ownership = ownership;
    this.#logger = logger;
  }

  /** Returns the new ETag. Fails with a `BlockError` when the volume is no longer ours. */
  async put(
    key: string,
    body: Uint8Array,
    expected: Expected,
    metadata: PutOptions['metadata'] = {},
  ): Promise<string> {
    if (this.#ownership.unfenced) return this.#store.put(key, body, { metadata });
    let known = expected;
    for (;;) {
      if (known === 'unknown') {
        const info = await this.#store.head(key);
        known = info === undefined ? 'absent' : { etag: info.etag };
      }
      try {
        return await this.#store.put(key, body, { condition: known, metadata });
      } catch (error) {
        if (!isStoreError(error, 'precondition-failed')) throw error;
        await this.#ownership.verify();
        // Ours, yet not as we left it: a leftover of an earlier discard, or a late request of a former owner. What we
        // are about to write is the whole object as it must be, so it replaces whatever is there.
        this.#logger.debug('an object was not as expected; replacing it', { key });
        known = 'unknown';
      }
    }
  }
}
