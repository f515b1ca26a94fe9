import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../util/secret.ts';
import { canonicalRequest } from './canonical-request.ts';
import type { ChunkVerifier } from './chunked-body.ts';
import { S3Error } from './errors.ts';
import { header, type S3Request } from './request.ts';
import {
  ALGORITHM,
  expiresSeconds,
  parseTimestamp,
  type SignatureParts,
  signatureParts,
} from './signature-parts.ts';

/**
 * AWS Signature Version 4 as S3 uses it: Amazon S3 API Reference, "Authenticating Requests". The path is encoded once
 * and not normalised; the payload's hash comes from x-amz-content-sha256.
 */

const MAX_SKEW_MS = 15 * 60_000;
const EMPTY_SHA256 = createHash('sha256').digest('hex');

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string | Secret;
}

/** What the signature says of the body. */
export type Payload =
  | { readonly kind: 'unsigned' }
  | { readonly kind: 'signed'; readonly sha256: string }
  | { readonly kind: 'chunked'; readonly verifier: ChunkVerifier | undefined; readonly trailer: boolean };

export class SignatureVerifier {
  readonly #accessKeyId: string;
  readonly #secret: () => string;
  readonly #region: string;
  readonly #now: () => number;
  #cachedDay = '';
  #cachedKey: Buffer = Buffer.alloc(0);

  constructor(credentials: Credentials, region: string, now: () => number = Date.now) {
    const { accessKeyId, secretAccessKey } = credentials;
    this.#accessKeyId = accessKeyId;
    this.#secret = () => (typeof secretAccessKey === 'string' ? secretAccessKey : secretAccessKey.reveal());
    this.#region = region;
    this.#now = now;
  }

  /** Throws the S3 error of a request that is not signed by our credentials, now, over what matters in it. */
  verify(request: S3Request): Payload {
    const parts = signatureParts(request);
    if (parts.accessKeyId !== this.#accessKeyId) {
      throw new S3Error('InvalidAccessKeyId', undefined, { AWSAccessKeyId: parts.accessKeyId });
    }
    this.#verifyScope(parts);
    this.#verifyTime(request, parts);
    requireSignedHeaders(request, parts);
    const payloadHash = payloadHashOf(request, parts);
    const canonical = canonicalRequest(request, parts.signedHeaders, payloadHash);
    const stringToSign = `${ALGORITHM}\n${parts.timestamp}\n${parts.scope}\n${sha256(canonical)}`;
    if (!sameText(this.#sign(parts.day, stringToSign), parts.signature)) {
      throw new S3Error('SignatureDoesNotMatch', undefined, {
        AWSAccessKeyId: parts.accessKeyId,
        StringToSign: stringToSign,
        SignatureProvided: parts.signature,
        CanonicalRequest: canonical,
      });
    }
    // Only after the signature: a client must not learn from this that a token would have been looked at.
    if (header(request, 'x-amz-security-token') !== undefined || request.query.has('X-Amz-Security-Token')) {
      throw new S3Error('InvalidToken', 'This server has no temporary credentials.');
    }
    return this.#payload(payloadHash, parts);
  }

  #verifyScope(parts: SignatureParts): void {
    if (parts.region === this.#region) return;
    throw new S3Error(
      parts.presigned ? 'AuthorizationQueryParametersError' : 'AuthorizationHeaderMalformed',
      `The region '${parts.region}' is wrong; expecting '${this.#region}'`,
      { Region: this.#region },
    );
  }

  #verifyTime(request: S3Request, parts: SignatureParts): void {
    const signedAt = parseTimestamp(parts.timestamp);
    const now = this.#now();
    if (!parts.timestamp.startsWith(parts.day)) {
      throw new S3Error(
        'SignatureDoesNotMatch',
        'The date of the credential scope is not that of the request.',
      );
    }
    const expires = parts.presigned ? expiresSeconds(request) : undefined;
    const latest = expires === undefined ? signedAt + MAX_SKEW_MS : signedAt + expires * 1000;
    if (now >= signedAt - MAX_SKEW_MS && now <= latest) return;
    const serverTime = new Date(now).toISOString();
    if (expires !== undefined && now > latest) {
      throw new S3Error('AccessDenied', 'Request has expired', {
        Expires: new Date(latest).toISOString(),
        ServerTime: serverTime,
      });
    }
    throw new S3Error('RequestTimeTooSkewed', undefined, {
      RequestTime: parts.timestamp,
      ServerTime: serverTime,
      MaxAllowedSkewMilliseconds: String(MAX_SKEW_MS),
    });
  }

  #payload(payloadHash: string, parts: SignatureParts): Payload {
    const verifier = this.#chunkVerifier(parts);
    switch (payloadHash) {
      case 'UNSIGNED-PAYLOAD':
        return { kind: 'unsigned' };
      case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
        return { kind: 'chunked', verifier: undefined, trailer: true };
      case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
        return { kind: 'chunked', verifier, trailer: false };
      case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
        return { kind: 'chunked', verifier, trailer: true };
      default:
        return { kind: 'signed', sha256: payloadHash };
    }
  }

  #chunkVerifier(parts: SignatureParts): ChunkVerifier {
    let previous = parts.signature;
    const verify = (kind: string, hashes: string, signature: string) => {
      const text = `${ALGORITHM}-${kind}\n${parts.timestamp}\n${parts.scope}\n${previous}\n${hashes}`;
      if (!sameText(this.#sign(parts.day, text), signature)) {
        throw new S3Error('SignatureDoesNotMatch', 'The signature of a chunk or trailer does not match.');
      }
      previous = signature;
    };
    return {
      verifyChunk: (data, signature) => verify('PAYLOAD', `${EMPTY_SHA256}\n${data}`, signature),
      verifyTrailer: (trailer, signature) => verify('TRAILER', trailer, signature),
    };
  }

  #sign(day: string, text: string): string {
    if (this.#cachedDay !== day) {
      const dateKey = hmac(`AWS4${this.#secret()}`, day);
      this.#cachedKey = hmac(hmac(hmac(dateKey, this.#region), 's3'), 'aws4_request');
      this.#cachedDay = day;
    }
    return hmac(this.#cachedKey, text).toString('hex');
  }
}

/** What is not signed could have been added on the way: `host` and every x-amz-* header must be. */
function requireSignedHeaders(request: S3Request, parts: SignatureParts): void {
  const signed = new Set(parts.signedHeaders);
  const missing = Object.keys(request.headers).filter(
    (name) => (name === 'host' || name.startsWith('x-amz-')) && !signed.has(name),
  );
  // A presigned URL cannot sign a payload hash that its user adds later; it is checked as part of the request all the same.
  const unsigned = parts.presigned ? missing.filter((name) => name !== 'x-amz-content-sha256') : missing;
  if (unsigned.length > 0) {
    throw new S3Error('AccessDenied', 'There were headers present in the request which were not signed', {
      HeadersNotSigned: unsigned.join(', '),
    });
  }
}

function payloadHashOf(request: S3Request, parts: SignatureParts): string {
  const given = header(request, 'x-amz-content-sha256');
  if (parts.presigned) return given ?? request.query.get('X-Amz-Content-Sha256') ?? 'UNSIGNED-PAYLOAD';
  if (given === undefined) {
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256');
  }
  const known =
    /^[0-9a-f]{64}$/.test(given) ||
    given === 'UNSIGNED-PAYLOAD' ||
    given === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' ||
    /^STREAMING-AWS4-HMAC-SHA256-PAYLOAD(-TRAILER)?$/.test(given);
  if (!known) {
    throw new S3Error(
      'InvalidArgument',
      'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.',
      { ArgumentName: 'x-amz-content-sha256', ArgumentValue: given },
    );
  }
  return given;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sameText(expected: string, given: string): boolean {
  const a = Buffer.from(expected);
  const b = Buffer.from(given);
  return a.length === b.length && timingSafeEqual(a, b);
}
