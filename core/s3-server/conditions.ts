import { S3Error } from './errors.ts';
import type { ObjectMetadata } from './object-file.ts';
import { header, type S3Request } from './request.ts';

/** Decides, while nothing else can touch the key, whether a change may go ahead; throws when it may not. */
export type Precondition = (current: ObjectMetadata | undefined) => void;

/** The condition of a PUT, a copy's target or a completion: `If-None-Match: *` or `If-Match: etag`. */
export function writePrecondition(request: S3Request): Precondition {
  const ifNoneMatch = header(request, 'if-none-match');
  const ifMatch = header(request, 'if-match');
  if (ifNoneMatch !== undefined && ifNoneMatch.trim() !== '*') {
    throw new S3Error('NotImplemented', undefined, { Header: 'If-None-Match' });
  }
  if (ifNoneMatch !== undefined && ifMatch !== undefined) {
    throw new S3Error('NotImplemented', 'If-Match and If-None-Match cannot be combined in a write.');
  }
  return (current) => {
    if (ifNoneMatch !== undefined && current) throw preconditionFailed('If-None-Match');
    if (ifMatch === undefined) return;
    if (!current) throw new S3Error('NoSuchKey', undefined, { Key: request.key ?? '' });
    if (!etagMatches(ifMatch, current.etag)) throw preconditionFailed('If-Match');
  };
}

/** The condition of a DELETE: `If-Match: etag`, or `*` for any object. Without one, a missing key is no error. */
export function deletePrecondition(ifMatch: string | undefined): Precondition {
  return (current) => {
    if (ifMatch === undefined) return;
    if (!current || !etagMatches(ifMatch, current.etag)) throw preconditionFailed('If-Match');
  };
}

/** Conditions on what is read, under the names that the request carries them by. */
export interface ReadConditions {
  readonly ifMatch?: string | undefined;
  readonly ifNoneMatch?: string | undefined;
  readonly ifModifiedSince?: string | undefined;
  readonly ifUnmodifiedSince?: string | undefined;
}

/** In the order of RFC 9110 section 13.2.2; dates that cannot be read are ignored, as it says. */
export function evaluateRead(
  conditions: ReadConditions,
  object: ObjectMetadata,
): 'proceed' | 'not-modified' | 'failed' {
  const modified = Math.floor(object.lastModified / 1000) * 1000;
  if (conditions.ifMatch !== undefined) {
    if (!etagMatches(conditions.ifMatch, object.etag)) return 'failed';
  } else if (conditions.ifUnmodifiedSince !== undefined) {
    if (modified > Date.parse(conditions.ifUnmodifiedSince)) return 'failed';
  }
  if (conditions.ifNoneMatch !== undefined) {
    if (etagMatches(conditions.ifNoneMatch, object.etag)) return 'not-modified';
  } else if (conditions.ifModifiedSince !== undefined) {
    if (modified <= Date.parse(conditions.ifModifiedSince)) return 'not-modified';
  }
  return 'proceed';
}

export function readConditions(request: S3Request): ReadConditions {
  return {
    ifMatch: header(request, 'if-match'),
    ifNoneMatch: header(request, 'if-none-match'),
    ifModifiedSince: header(request, 'if-modified-since'),
    ifUnmodifiedSince: header(request, 'if-unmodified-since'),
  };
}

/** `*`, or a list of tags with or without quotes; a weak tag compares as its value. */
export function etagMatches(list: string, etag: string): boolean {
  return list.split(',').some((item) => {
    const tag = item.trim();
    return tag === '*' || tag.replace(/^W\//, '').replace(/^"(.*)"$/, '$1') === etag;
  });
}

export function preconditionFailed(condition: string): S3Error {
  return new S3Error('PreconditionFailed', undefined, { Condition: condition });
}
