import { evaluateRead, preconditionFailed, readConditions } from '../conditions.ts';
import { S3Error } from '../errors.ts';
import type { ObjectMetadata } from '../object-file.ts';
import { checksumHeaders, objectHeaders } from '../object-headers.ts';
import type { OperationContext, S3Response } from '../operation.ts';
import { type ByteRange, parseRange } from '../range.ts';
import { header, type S3Request } from '../request.ts';

export async function getObject({ request, store }: OperationContext): Promise<S3Response> {
  await using stack = new AsyncDisposableStack();
  const { metadata, handle } = await store.bucket(request.bucket!).open(request.key!);
  stack.use(handle);
  const { range, ...response } = describe(request, metadata);
  if (!range) return response;
  stack.move();
  return { ...response, body: { handle, ...range } };
}

export async function headObject({ request, store }: OperationContext): Promise<S3Response> {
  const { range: _, ...response } = describe(request, store.bucket(request.bucket!).head(request.key!));
  return response;
}

/** Status and headers of reading an object, and which of its bytes go with them. */
function describe(request: S3Request, object: ObjectMetadata): S3Response & { readonly range?: ByteRange } {
  const outcome = evaluateRead(readConditions(request), object);
  if (outcome === 'failed') throw preconditionFailed('the conditions of the request');
  const headers = objectHeaders(object, request);
  if (outcome === 'not-modified') return { status: 304, headers };
  const range = parseRange(rangeHeader(request, object), object.size);
  if (range === 'unsatisfiable') {
    throw new S3Error('InvalidRange', undefined, {
      RangeRequested: header(request, 'range') ?? '',
      ActualObjectSize: String(object.size),
    });
  }
  if (range) {
    headers['content-range'] = `bytes ${range.start}-${range.start + range.length - 1}/${object.size}`;
  } else if (header(request, 'x-amz-checksum-mode')?.toUpperCase() === 'ENABLED') {
    // The stored checksum is that of the whole object: with a range it would only mislead.
    Object.assign(headers, checksumHeaders(object));
  }
  const sent = range ?? { start: 0, length: object.size };
  headers['content-length'] = String(sent.length);
  return { status: range ? 206 : 200, headers, range: sent };
}

/** RFC 9110 section 13.1.5: with an If-Range that does not match, the whole object is wanted. */
function rangeHeader(request: S3Request, object: ObjectMetadata): string | undefined {
  const ifRange = header(request, 'if-range');
  if (ifRange !== undefined && ifRange !== `"${object.etag}"`) return undefined;
  return header(request, 'range');
}
