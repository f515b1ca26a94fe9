import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { S3Error } from './errors.ts';
import { Query, uriDecode } from './uri.ts';

const MAX_KEY_BYTES = 1024;

/** A request of the S3 API: an HTTP request with its target split into bucket, key and parameters. */
export interface S3Request {
  /** Returned as x-amz-request-id and in error documents. */
  readonly id: string;
  readonly method: string;
  /** As it came on the request line, still encoded, without the query. */
  readonly rawPath: string;
  readonly query: Query;
  readonly headers: IncomingHttpHeaders;
  /** Undefined for requests on the service itself. */
  readonly bucket: string | undefined;
  /** Undefined for requests on a bucket. */
  readonly key: string | undefined;
  readonly incoming: IncomingMessage;
}

/** Splits path-style (`/bucket/key`) and virtual-hosted-style (`bucket.localhost`) targets. */
export function parseRequest(incoming: IncomingMessage, id: string): S3Request {
  const url = originForm(incoming.url ?? '/');
  const mark = url.indexOf('?');
  const rawPath = mark < 0 ? url : url.slice(0, mark);
  const { bucket, key } = splitTarget(rawPath, incoming.headers.host);
  return {
    id,
    method: incoming.method ?? 'GET',
    rawPath,
    query: new Query(mark < 0 ? '' : url.slice(mark + 1)),
    headers: incoming.headers,
    bucket,
    key,
    incoming,
  };
}

/** Proxies send the absolute form (RFC 9112 section 3.2.2). */
function originForm(url: string): string {
  const absolute = /^https?:\/\/[^/?]*(.*)$/i.exec(url);
  const target = absolute ? absolute[1]! : url;
  if (target === '' || target.startsWith('?')) return `/${target}`;
  if (!target.startsWith('/')) throw new S3Error('InvalidURI');
  return target;
}

function splitTarget(rawPath: string, host = ''): { bucket: string | undefined; key: string | undefined } {
  const virtual = /^(.+)\.localhost(?::\d+)?$/i.exec(host);
  const path = uriDecode(rawPath).slice(1);
  if (virtual) return { bucket: virtual[1]!.toLowerCase(), key: keyOf(path) };
  const slash = path.indexOf('/');
  if (slash < 0) return { bucket: path === '' ? undefined : path, key: undefined };
  return { bucket: path.slice(0, slash), key: keyOf(path.slice(slash + 1)) };
}

function keyOf(text: string): string | undefined {
  if (text === '') return undefined;
  requireKeyLength(text);
  return text;
}

/** Refuses keys of more than 1024 bytes of UTF-8, the limit of S3. */
export function requireKeyLength(key: string): void {
  const size = Buffer.byteLength(key);
  if (size <= MAX_KEY_BYTES) return;
  throw new S3Error('KeyTooLongError', undefined, {
    Size: String(size),
    MaxSizeAllowed: String(MAX_KEY_BYTES),
  });
}

/** A header that may occur once; undefined when absent. */
export function header(request: S3Request, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(',') : value;
}
