import type { S3Request } from './request.ts';
import { uriDecode, uriEncode, uriEncodePath } from './uri.ts';

/** Method, path, query, headers, list of headers, payload hash; each canonical, on lines of its own. */
export function canonicalRequest(
  request: S3Request,
  signedHeaders: readonly string[],
  payloadHash: string,
): string {
  return [
    request.method,
    canonicalPath(request.rawPath),
    canonicalQuery(request.query.pairs),
    canonicalHeaders(request, signedHeaders),
    signedHeaders.join(';'),
    payloadHash,
  ].join('\n');
}

/** Encoded once, whatever the client left unencoded; empty segments, `.` and `..` stay as they are. */
export function canonicalPath(rawPath: string): string {
  return uriEncodePath(uriDecode(rawPath));
}

/** Sorted by encoded name, then by encoded value; without the signature of a presigned URL. */
export function canonicalQuery(pairs: readonly (readonly [string, string])[]): string {
  return pairs
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [uriEncode(name), uriEncode(value)] as const)
    .sort((a, b) => compareAscii(a[0], b[0]) || compareAscii(a[1], b[1]))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

function canonicalHeaders(request: S3Request, names: readonly string[]): string {
  return names
    .map((name) => {
      const values = request.incoming.headersDistinct[name] ?? [];
      return `${name}:${values.map((value) => value.trim().replace(/ +/g, ' ')).join(',')}\n`;
    })
    .join('');
}

function compareAscii(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
