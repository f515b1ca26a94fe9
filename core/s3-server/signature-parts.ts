import { S3Error } from './errors.ts';
import { header, type S3Request } from './request.ts';

export const ALGORITHM = 'AWS4-HMAC-SHA256';
const MAX_EXPIRES_S = 7 * 24 * 3600;

/** The parts of a signature, wherever the request carries them. */
export interface SignatureParts {
  readonly accessKeyId: string;
  /** YYYYMMDD of the credential scope. */
  readonly day: string;
  readonly region: string;
  readonly scope: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  /** YYYYMMDDTHHMMSSZ */
  readonly timestamp: string;
  readonly presigned: boolean;
}

/** The signature that a request carries, in its query if it is presigned, else in its Authorization header. */
export function signatureParts(request: S3Request): SignatureParts {
  return request.query.has('X-Amz-Algorithm') ? presignedParts(request) : headerParts(request);
}

function headerParts(request: S3Request): SignatureParts {
  const authorization = header(request, 'authorization');
  if (authorization === undefined) throw new S3Error('AccessDenied');
  const malformed = (why: string) => new S3Error('AuthorizationHeaderMalformed', why);
  if (!authorization.startsWith(`${ALGORITHM} `)) {
    throw new S3Error(
      'InvalidRequest',
      `The authorization mechanism you have provided is not supported. Please use ${ALGORITHM}.`,
    );
  }
  const fields = new Map<string, string>();
  for (const part of authorization.slice(ALGORITHM.length + 1).split(',')) {
    const equals = part.indexOf('=');
    if (equals > 0) fields.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim());
  }
  const [credential, signedHeaders, signature] = ['Credential', 'SignedHeaders', 'Signature'].map((name) =>
    fields.get(name),
  );
  if (!credential || !signedHeaders || !signature) {
    throw malformed('The authorization header must hold Credential, SignedHeaders and Signature.');
  }
  const date = header(request, 'x-amz-date') ?? header(request, 'date');
  if (date === undefined) throw invalidDate();
  return {
    ...parseCredential(credential, malformed),
    signedHeaders: signedHeaders.split(';'),
    signature,
    timestamp: toTimestamp(date),
    presigned: false,
  };
}

function presignedParts(request: S3Request): SignatureParts {
  const malformed = (why: string) => new S3Error('AuthorizationQueryParametersError', why);
  const parameter = (name: string) => {
    const value = request.query.get(name);
    if (!value) throw malformed(`The query string must hold ${name}.`);
    return value;
  };
  if (parameter('X-Amz-Algorithm') !== ALGORITHM)
    throw malformed(`X-Amz-Algorithm only supports "${ALGORITHM}"`);
  return {
    ...parseCredential(parameter('X-Amz-Credential'), malformed),
    signedHeaders: parameter('X-Amz-SignedHeaders').split(';'),
    signature: parameter('X-Amz-Signature'),
    timestamp: toTimestamp(parameter('X-Amz-Date')),
    presigned: true,
  };
}

function parseCredential(credential: string, malformed: (why: string) => S3Error) {
  // An access key may hold slashes, the scope behind it may not.
  const match = /^(.+)\/(\d{8})\/([^/]*)\/([^/]*)\/([^/]*)$/.exec(credential);
  if (!match) {
    throw malformed(
      'The credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".',
    );
  }
  const [, accessKeyId, day, region, service, terminator] = match;
  if (service !== 's3') throw malformed(`incorrect service "${service}". This endpoint belongs to "s3".`);
  if (terminator !== 'aws4_request') throw malformed(`incorrect terminal "${terminator}".`);
  return { accessKeyId: accessKeyId!, day: day!, region: region!, scope: `${day}/${region}/s3/aws4_request` };
}

/** Both forms that the Date headers take, as YYYYMMDDTHHMMSSZ. */
function toTimestamp(date: string): string {
  if (/^\d{8}T\d{6}Z$/.test(date)) return date;
  const time = Date.parse(date);
  if (Number.isNaN(time)) throw invalidDate();
  return new Date(time).toISOString().replace(/[-:]|\.\d{3}/g, '');
}

function invalidDate(): S3Error {
  return new S3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
}

/** Milliseconds since 1970. */
export function parseTimestamp(timestamp: string): number {
  const iso = timestamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z');
  const time = Date.parse(iso);
  if (Number.isNaN(time)) throw invalidDate();
  return time;
}

/** For how long a presigned request is good. */
export function expiresSeconds(request: S3Request): number {
  const text = request.query.get('X-Amz-Expires') ?? '';
  const seconds = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (seconds >= 1 && seconds <= MAX_EXPIRES_S) return seconds;
  throw new S3Error(
    'AuthorizationQueryParametersError',
    `X-Amz-Expires must be a whole number of seconds from 1 to ${MAX_EXPIRES_S}.`,
  );
}
