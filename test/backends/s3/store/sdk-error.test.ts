import { describe, expect, it } from 'vitest';
import { fromSdk } from '../../../../backends/s3/store/sdk-error.ts';

function sdkError(name: string, status?: number, message = 'text', code?: string): Error {
  return Object.assign(new Error(message), {
    name,
    ...(status === undefined ? {} : { $metadata: { httpStatusCode: status } }),
    ...(code === undefined ? {} : { code }),
  });
}

describe('fromSdk', () => {
  it.each([
    ['a refused connection', sdkError('Error', undefined, 'connect', 'ECONNREFUSED'), 'unreachable', true],
    [
      'a reset that the SDK calls a timeout',
      sdkError('TimeoutError', undefined, 'read', 'ECONNRESET'),
      'unreachable',
      true,
    ],
    [
      'a certificate of nobody we know',
      sdkError('Error', undefined, 'self-signed', 'DEPTH_ZERO_SELF_SIGNED_CERT'),
      'untrusted',
      false,
    ],
    [
      'a certificate for another name',
      sdkError('Error', undefined, 'x', 'ERR_TLS_CERT_ALTNAME_INVALID'),
      'untrusted',
      false,
    ],
    ['a request that was cut off', sdkError('AbortError'), 'timeout', true],
    ['503 SlowDown', sdkError('SlowDown', 503), 'throttled', true],
    ['500', sdkError('InternalError', 500), 'server', true],
    ['what the store does not implement', sdkError('NotImplemented', 501), 'rejected', false],
    ['429 without a code', sdkError('UnknownError', 429), 'throttled', true],
    ['two conditional writes at once', sdkError('ConditionalRequestConflict', 409), 'conflict', true],
    ['a clock that is wrong', sdkError('RequestTimeTooSkewed', 403), 'clock-skew', true],
    ['a failed condition', sdkError('PreconditionFailed', 412), 'precondition-failed', false],
    ['a missing bucket', sdkError('NoSuchBucket', 404), 'no-bucket', false],
    ['an unknown key id', sdkError('InvalidAccessKeyId', 403), 'bad-credentials', false],
    ['a wrong secret', sdkError('SignatureDoesNotMatch', 403), 'bad-credentials', false],
    ['no credentials at all', sdkError('CredentialsProviderError'), 'bad-credentials', false],
    ['no permission', sdkError('AccessDenied', 403), 'access-denied', false],
    ['a 403 to HEAD, which has no code', sdkError('UnknownError', 403), 'access-denied', false],
    ['a bucket elsewhere', sdkError('PermanentRedirect', 301), 'wrong-region', false],
    ['something the store lacks', sdkError('NoSuchKey', 404), 'rejected', false],
    ['a missing region', sdkError('Error', undefined, 'Region is missing'), 'rejected', false],
    ['a wrong call', new TypeError('x is not a function'), 'rejected', false],
  ])('tells %s', (_what, error, kind, transient) => {
    const problem = fromSdk(error);
    expect(problem).toMatchObject({ kind, transient, cause: error });
  });

  it('names a socket error by its code', () => {
    expect(fromSdk(sdkError('TimeoutError', undefined, 'read ECONNRESET', 'ECONNRESET')).message).toBe(
      'ECONNRESET: read ECONNRESET',
    );
  });

  it('names an answer without a code by its status', () => {
    expect(fromSdk(sdkError('UnknownError', 418, 'UnknownError')).message).toBe('HTTP 418');
  });
});
