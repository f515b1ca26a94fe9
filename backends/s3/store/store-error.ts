/** What went wrong between us and the store, in the terms that decide what to do about it. */
export type StoreErrorKind =
  /** No connection, name not resolved, TLS refused, or the connection broke. */
  | 'unreachable'
  /** The server's certificate is not one that we trust. */
  | 'untrusted'
  /** No answer in time. */
  | 'timeout'
  /** 429, SlowDown. */
  | 'throttled'
  /** Any other 5xx, or an answer that makes no sense. */
  | 'server'
  /** 409 ConditionalRequestConflict: two conditional writes at once, neither refused for good. */
  | 'conflict'
  /** 412. */
  | 'precondition-failed'
  | 'no-bucket'
  /** 301, 307, 400 AuthorizationHeaderMalformed: the bucket is elsewhere. */
  | 'wrong-region'
  /** The key or its signature is not accepted, or no credentials were found. */
  | 'bad-credentials'
  /** Clocks differ by more than the store accepts. */
  | 'clock-skew'
  | 'access-denied'
  /** Content arrived damaged: the checksum differs. */
  | 'damaged'
  /** Any other 4xx: the store does not take this request. */
  | 'rejected';

/** Gone by themselves, soon. */
const TRANSIENT: ReadonlySet<StoreErrorKind> = new Set([
  'unreachable',
  'timeout',
  'throttled',
  'server',
  'conflict',
  'clock-skew',
  'damaged',
]);

/** Gone when somebody repairs something: worth asking again, slowly, by a disk that runs. */
const REPAIRABLE: ReadonlySet<StoreErrorKind> = new Set([
  'untrusted',
  'no-bucket',
  'wrong-region',
  'bad-credentials',
  'access-denied',
]);

export interface StoreErrorOptions {
  /** The store's error code, such as `NoSuchBucket`. */
  readonly code?: string | undefined;
  readonly status?: number | undefined;
  readonly cause?: unknown;
}

/** A request to the store failed. Internal to this backend: turned into `BlockError` or `GatewayError` at its edge. */
export class StoreError extends Error {
  readonly kind: StoreErrorKind;
  readonly code: string | undefined;
  readonly status: number | undefined;

  constructor(kind: StoreErrorKind, message: string, options: StoreErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'StoreError';
    this.kind = kind;
    this.code = options.code;
    this.status = options.status;
  }

  get transient(): boolean {
    return TRANSIENT.has(this.kind);
  }

  get repairable(): boolean {
    return REPAIRABLE.has(this.kind);
  }

  /** The store may have done what was asked, or may do it yet. */
  get ambiguous(): boolean {
    return this.kind === 'unreachable' || this.kind === 'timeout' || this.kind === 'server';
  }
}

export function isStoreError(value: unknown, kind?: StoreErrorKind): value is StoreError {
  return value instanceof StoreError && (kind === undefined || value.kind === kind);
}
