import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { BlockError, GatewayError, type Logger, ownIdentity } from '../../../core/plugin.ts';
import { describeHolder, processIdentity, refuseUnlessGone } from '../holder.ts';
import { lacksConditions, refuses, WRONG_CONDITIONS } from '../store/conditions.ts';
import type { ObjectStore, PutCondition } from '../store/object-store.ts';
import { isStoreError } from '../store/store-error.ts';
import { noConditionalWrites } from '../volume-errors.ts';
import type { Layout } from './layout.ts';

const ownerRecord = z.object({
  volume: z.string(),
  /** Different for every acquisition. */
  nonce: z.string(),
  state: z.enum(['owned', 'released']),
  disk: z.string(),
  since: z.string(),
  process: processIdentity,
  /** Released with chunk objects left to delete. */
  leftovers: z.boolean(),
});

/** The content of owner.json. */
export type OwnerRecord = z.output<typeof ownerRecord>;

const MAX_RECORD_BYTES = 16 * 1024;
const MAX_RACES = 5;
/** What one can do without conditional writes. */
export const UNFENCED = 'accept the risk with "unsafeNoFence": true';

/** The owner record as it is; undefined when nobody ever owned the volume. */
export async function readOwner(
  store: ObjectStore,
  layout: Layout,
): Promise<{ readonly record: OwnerRecord; readonly etag: string } | undefined> {
  const object = await store.get(layout.owner, MAX_RECORD_BYTES);
  if (object === undefined) return undefined;
  try {
    const record = ownerRecord.parse(JSON.parse(Buffer.from(object.body).toString('utf8')));
    return { record, etag: object.info.etag };
  } catch (cause) {
    throw new GatewayError('volume.owner-unreadable', `The owner record ${layout.owner} is damaged.`, {
      why: (cause as Error).message,
      fix: 'Make sure that no gateway uses the volume, then delete that object.',
      cause,
    });
  }
}

export interface OwnershipOptions {
  readonly disk: string;
  /** UUID of the volume. */
  readonly volume: string;
  /** Take the volume from an owner that may be alive. */
  readonly takeOver: boolean;
  /** Do without conditional writes: the record informs, but excludes nobody. */
  readonly unfenced: boolean;
  readonly logger: Logger;
}

/**
 * The right to write to a volume, recorded in owner.json by conditional write. Advisory: a gateway that lost the
 * volume finds out when it looks (`verify`), or when a conditional write of a chunk is refused.
 */
export class Ownership {
  /** The owner before us did not release the volume, or left objects to delete. */
  readonly uncleanStart: boolean;
  readonly #store: ObjectStore;
  readonly #layout: Layout;
  readonly #record: OwnerRecord;
  readonly #unfenced: boolean;
  #etag: string;
  #lost: BlockError | undefined;
  #verifiedAt = performance.now();
  #verifying: Promise<void> | undefined;

  private constructor(
    store: ObjectStore,
    layout: Layout,
    record: OwnerRecord,
    etag: string,
    unfenced: boolean,
    uncleanStart: boolean,
  ) {
    this.#store = store;
    this.#layout = layout;
    this.#record = record;
    this.#etag = etag;
    this.#unfenced = unfenced;
    this.uncleanStart = uncleanStart;
  }

  /** Fails with `volume.owned` when somebody else has the volume who may still be alive. */
  static async acquire(store: ObjectStore, layout: Layout, options: OwnershipOptions): Promise<Ownership> {
    const record: OwnerRecord = {
      volume: options.volume,
      nonce: randomUUID(),
      state: 'owned',
      disk: options.disk,
      since: new Date().toISOString(),
      process: ownIdentity(),
      leftovers: false,
    };
    for (let race = 0; race < MAX_RACES; race++) {
      const current = await readOwner(store, layout);
      const unclean = current !== undefined && isUnclean(current.record);
      // The record of a volume that was deleted since binds nobody.
      const owned = current?.record.state === 'owned' && current.record.volume === options.volume;
      if (owned) refuseUnlessGone(current.record, options);
      const condition: PutCondition = current === undefined ? 'absent' : { etag: current.etag };
      try {
        const etag = await store.put(layout.owner, encode(record), options.unfenced ? {} : { condition });
        return new Ownership(store, layout, record, etag, options.unfenced, unclean);
      } catch (error) {
        if (lacksConditions(error)) throw noConditionalWrites(UNFENCED, error);
        // Somebody else changed the record since we read it: read it again.
        if (!isStoreError(error, 'precondition-failed')) throw error;
      }
    }
    throw new GatewayError('volume.owner-contended', 'Several gateways want this volume at the same time.', {
      why: `The owner record ${layout.owner} changed ${MAX_RACES} times while this one tried to write it.`,
      fix: 'Leave the volume to one of them.',
    });
  }

  /** The same rights for the same holder through another store, such as one with another retry policy. */
  through(store: ObjectStore): Ownership {
    return new Ownership(store, this.#layout, this.#record, this.#etag, this.#unfenced, this.uncleanStart);
  }

  get unfenced(): boolean {
    return this.#unfenced;
  }

  /** Why the volume is not ours any more; undefined while we do not know better than that it is. */
  get lost(): BlockError | undefined {
    return this.#lost;
  }

  /** Milliseconds since the last time that we saw ourselves recorded as the owner. */
  get unverifiedMs(): number {
    return performance.now() - this.#verifiedAt;
  }

  /** Looks whether the volume is still ours. Fails for good, with a `BlockError`, once it is not. */
  verify(): Promise<void> {
    this.#verifying ??= this.#verify().finally(() => {
      this.#verifying = undefined;
    });
    return this.#verifying;
  }

  /** Gives the volume back, unless it is somebody else's by now. */
  async release(options: { readonly leftovers: boolean }): Promise<void> {
    if (this.#lost) return;
    const released: OwnerRecord = { ...this.#record, state: 'released', ...options };
    try {
      await this.#store.put(this.#layout.owner, encode(released), this.#condition());
    } catch (error) {
      if (!isStoreError(error, 'precondition-failed')) throw error;
    }
  }

  /**
   * Whether the store keeps to conditions, tried on our own owner record, which stays as it is: a create must be
   * refused since it exists, a replace since it never had this ETag.
   */
  async conditionsHold(): Promise<boolean> {
    for (const condition of WRONG_CONDITIONS) {
      if (await refuses(this.#store, this.#layout.owner, encode(this.#record), condition)) continue;
      // It has another ETag now, by which we can give the volume back.
      await this.verify();
      return false;
    }
    try {
      this.#etag = await this.#store.put(this.#layout.owner, encode(this.#record), this.#condition());
      return true;
    } catch (error) {
      // Ceph before 20 refuses the right ETag when it is quoted, as HTTP demands.
      if (isStoreError(error, 'precondition-failed')) return false;
      throw error;
    }
  }

  /** The owner record, or why there is none to read. */
  async #currentRecord(): Promise<NonNullable<Awaited<ReturnType<typeof readOwner>>> | string> {
    try {
      return (await readOwner(this.#store, this.#layout)) ?? 'the owner record was deleted';
    } catch (error) {
      if (GatewayError.is(error)) return 'the owner record was overwritten';
      throw error;
    }
  }

  #condition(): { condition?: PutCondition } {
    return this.#unfenced ? {} : { condition: { etag: this.#etag } };
  }

  async #verify(): Promise<void> {
    if (this.#lost) throw this.#lost;
    const askedAt = performance.now();
    const info = await this.#store.head(this.#layout.owner);
    if (info?.etag === this.#etag) {
      this.#verifiedAt = askedAt;
      return;
    }
    // A GET and not only the HEAD: its answer tells a missing record from a missing bucket, which may come back.
    const current = await this.#currentRecord();
    if (typeof current === 'object' && current.record.nonce === this.#record.nonce) {
      this.#etag = current.etag;
      this.#verifiedAt = askedAt;
      return;
    }
    const by = typeof current === 'string' ? current : `by ${describeHolder(current.record)}`;
    this.#lost = new BlockError('EIO', `the volume was taken over: ${by}`);
    throw this.#lost;
  }
}

function encode(record: OwnerRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify(record, undefined, 2)}\n`);
}

function isUnclean({ state, leftovers }: OwnerRecord): boolean {
  return state === 'owned' || leftovers;
}
