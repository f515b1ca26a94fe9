import { validateHeaderValue } from 'node:http';
import { checksumHeader } from './checksums.ts';
import { S3Error } from './errors.ts';
import type { ObjectMetadata } from './object-file.ts';
import { header, type S3Request } from './request.ts';

/** Headers of a PUT that come back with every GET. */
const STORED = [
  'cache-control',
  'content-disposition',
  'content-language',
  'content-type',
  'expires',
] as const;
const DEFAULT_CONTENT_TYPE = 'binary/octet-stream';
const USER_PREFIX = 'x-amz-meta-';
const MAX_USER_METADATA_BYTES = 2048;

/** Query parameter of a GET → header of its response that it overrides. */
const OVERRIDES = {
  'response-cache-control': 'cache-control',
  'response-content-disposition': 'content-disposition',
  'response-content-encoding': 'content-encoding',
  'response-content-language': 'content-language',
  'response-content-type': 'content-type',
  'response-expires': 'expires',
} as const;

export const RESPONSE_OVERRIDES = Object.keys(OVERRIDES);

/** The headers to keep with the object that this request writes. */
export function storedHeaders(request: S3Request): Record<string, string> {
  const kept: Record<string, string> = { 'content-type': DEFAULT_CONTENT_TYPE };
  for (const name of STORED) {
    const value = header(request, name);
    if (value !== undefined) kept[name] = value;
  }
  const encoding = storedEncoding(header(request, 'content-encoding'));
  if (encoding !== '') kept['content-encoding'] = encoding;
  let userBytes = 0;
  for (const [name, value] of Object.entries(request.headers)) {
    if (!name.startsWith(USER_PREFIX) || typeof value !== 'string') continue;
    userBytes += name.length - USER_PREFIX.length + value.length;
    kept[name] = value;
  }
  if (userBytes > MAX_USER_METADATA_BYTES) {
    throw new S3Error('MetadataTooLarge', undefined, {
      Size: String(userBytes),
      MaxSizeAllowed: String(MAX_USER_METADATA_BYTES),
    });
  }
  return kept;
}

/** `aws-chunked` is the framing of the request, not of the object. */
function storedEncoding(value = ''): string {
  return value
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding.toLowerCase() !== 'aws-chunked')
    .join(',');
}

/** Validators and stored headers of an object, as GET, HEAD and 304 return them. */
export function objectHeaders(object: ObjectMetadata, request: S3Request): Record<string, string> {
  const headers: Record<string, string> = {
    ...object.headers,
    'accept-ranges': 'bytes',
    etag: `"${object.etag}"`,
    'last-modified': new Date(object.lastModified).toUTCString(),
  };
  for (const [parameter, name] of Object.entries(OVERRIDES)) {
    const value = request.query.get(parameter);
    if (value !== undefined) headers[name] = requireHeaderValue(parameter, value);
  }
  return headers;
}

/** A parameter can hold what a header must not, such as a line break. */
function requireHeaderValue(parameter: string, value: string): string {
  try {
    validateHeaderValue(parameter, value);
    return value;
  } catch (cause) {
    const details = { ArgumentName: parameter, ArgumentValue: value };
    throw new S3Error('InvalidArgument', `The value of ${parameter} cannot be a header.`, details, cause);
  }
}

/** The checksum of the whole object, if it has one. */
export function checksumHeaders(object: Pick<ObjectMetadata, 'checksum'>): Record<string, string> {
  const { checksum } = object;
  if (!checksum) return {};
  return { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': checksum.type };
}
