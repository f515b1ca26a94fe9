import type { IoVec } from '../../../core/plugin.ts';

/** What a store says of an object besides its bytes. */
export interface ObjectInfo {
  /** Opaque, quoted as the store gave it; changes with the content. */
  readonly etag: string;
  /** Bytes of the whole object, also in answer to a ranged read. */
  readonly size: number;
  /** User metadata (`x-amz-meta-*`), names in lower case without the prefix. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** `'absent'`: only if there is no such object (`If-None-Match: *`). Otherwise: only if its ETag is this one. */
export type PutCondition = 'absent' | { readonly etag: string };

export interface PutOptions {
  readonly condition?: PutCondition;
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface ListedObject {
  readonly key: string;
  readonly size: number;
}

export interface ListPage {
  readonly objects: readonly ListedObject[];
  /** Common prefixes up to the delimiter, when one was asked for. */
  readonly prefixes: readonly string[];
  /** Continues the listing; undefined at its end. */
  readonly next: string | undefined;
}

export interface ListOptions {
  readonly delimiter?: string;
  /** `next` of the page before. */
  readonly continuation?: string;
}

/** One key that `deleteMany` could not delete. */
export interface DeleteFailure {
  readonly key: string;
  readonly reason: string;
}

/** The most keys of one `deleteMany`: the limit of DeleteObjects. */
export const MAX_DELETE_KEYS = 1000;

/**
 * The few S3 operations this backend needs. Every method fails with a `StoreError`; what is not an error of the store
 * (no such object) is a value. Nothing is retried at this level. An aborted signal ends the call at once.
 */
export interface ObjectStore extends Disposable {
  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | undefined>;
  /**
   * Fills `into` from byte `offset` of the object on. Undefined: no such object. Where the object ends too early the
   * rest of `into` is left as it was: compare `size`.
   */
  read(key: string, offset: number, into: IoVec, signal?: AbortSignal): Promise<ObjectInfo | undefined>;
  /** The whole of a small object. Fails when it is larger than `maxBytes`. Undefined: no such object. */
  get(
    key: string,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<{ readonly info: ObjectInfo; readonly body: Uint8Array } | undefined>;
  /** Returns the new ETag. Fails with kind `precondition-failed` when the condition does not hold. */
  put(key: string, body: Uint8Array, options?: PutOptions, signal?: AbortSignal): Promise<string>;
  /** Deletes up to `MAX_DELETE_KEYS` objects; a missing one counts as deleted. Returns those that remain. */
  deleteMany(keys: readonly string[], signal?: AbortSignal): Promise<readonly DeleteFailure[]>;
  list(prefix: string, options?: ListOptions, signal?: AbortSignal): Promise<ListPage>;
}

/** A store through which uploads can be made that fail. */
export interface FaultyUploads {
  /** As `put` of `body`, whose length and checksum it tells, while `sent` is what it sends. */
  putAs(
    key: string,
    body: Uint8Array,
    sent: Uint8Array | AsyncIterable<Uint8Array>,
    options?: PutOptions,
    signal?: AbortSignal,
  ): Promise<string>;
}
