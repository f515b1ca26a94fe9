import { StoreError, type StoreErrorKind } from './store-error.ts';

/** By the store's error code, which says more than the status. */
const KIND_OF_CODE: Readonly<Record<string, StoreErrorKind>> = {
  NoSuchBucket: 'no-bucket',
  InvalidAccessKeyId: 'bad-credentials',
  SignatureDoesNotMatch: 'bad-credentials',
  InvalidToken: 'bad-credentials',
  ExpiredToken: 'bad-credentials',
  TokenRefreshRequired: 'bad-credentials',
  CredentialsProviderError: 'bad-credentials',
  RequestTimeTooSkewed: 'clock-skew',
  AccessDenied: 'access-denied',
  AllAccessDisabled: 'access-denied',
  AccountProblem: 'access-denied',
  PermanentRedirect: 'wrong-region',
  TemporaryRedirect: 'wrong-region',
  AuthorizationHeaderMalformed: 'wrong-region',
  IllegalLocationConstraintException: 'wrong-region',
  PreconditionFailed: 'precondition-failed',
  ConditionalRequestConflict: 'conflict',
  OperationAborted: 'conflict',
  SlowDown: 'throttled',
  ThrottlingException: 'throttled',
  RequestLimitExceeded: 'throttled',
  RequestTimeout: 'timeout',
  TimeoutError: 'timeout',
  AbortError: 'timeout',
  BadDigest: 'damaged',
  XAmzContentSHA256Mismatch: 'damaged',
  XAmzContentChecksumMismatch: 'damaged',
  IncompleteBody: 'damaged',
};

const KIND_OF_STATUS: Readonly<Record<number, StoreErrorKind>> = {
  301: 'wrong-region',
  307: 'wrong-region',
  401: 'bad-credentials',
  403: 'access-denied',
  408: 'timeout',
  409: 'conflict',
  412: 'precondition-failed',
  429: 'throttled',
  // NotImplemented: it will not be there when asked again.
  501: 'rejected',
};

interface SdkLikeError {
  readonly name?: string;
  readonly message?: string;
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** Turns whatever the SDK, the HTTP client or the socket threw into a `StoreError`. */
export function fromSdk(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const { name = '', message = '', code, $metadata } = (error ?? {}) as SdkLikeError;
  const status = $metadata?.httpStatusCode;
  const kind = isOurMistake(error, message) ? 'rejected' : (kindOfSocketError(code) ?? kindOf(name, status));
  // A HEAD request's error has no body, and the SDK calls it "UnknownError" or by its number.
  const label =
    kindOfSocketError(code) !== undefined || /^(UnknownError|Error|\d+)?$/.test(name)
      ? (code ?? (status ? `HTTP ${status}` : name))
      : name;
  const text = message === '' || message === 'UnknownError' || message === name ? '' : `: ${message}`;
  return new StoreError(kind, `${label}${text}`, { code: code ?? name, status, cause: error });
}

function kindOf(name: string, status: number | undefined): StoreErrorKind {
  if (Object.hasOwn(KIND_OF_CODE, name)) return KIND_OF_CODE[name]!;
  // No status: the request never got an answer (ECONNREFUSED, ECONNRESET, ENOTFOUND, EPIPE, TLS, "socket hang up").
  if (status === undefined) return 'unreachable';
  if (Object.hasOwn(KIND_OF_STATUS, status)) return KIND_OF_STATUS[status]!;
  if (status >= 500) return 'server';
  return status >= 400 ? 'rejected' : 'server';
}

/** By the `code` of Node's errors, before the name that the SDK gives them: it calls a reset connection a timeout. */
function kindOfSocketError(code: string | undefined): StoreErrorKind | undefined {
  if (code === undefined || code === 'ETIMEDOUT') return undefined;
  if (/CERT|^UNABLE_TO_/.test(code)) return 'untrusted';
  return /^E[A-Z]+$/.test(code) ? 'unreachable' : undefined;
}

/** Never left this process: a wrong call or a missing setting, which no retry will cure. */
function isOurMistake(error: unknown, message: string): boolean {
  return error instanceof TypeError || error instanceof RangeError || message.startsWith('Region is missing');
}
