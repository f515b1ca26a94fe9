import type { Bucket } from '../bucket.ts';
import { S3Error } from '../errors.ts';
import { type Cursor, decodeToken, encodeToken, type ListingPage, listPage } from '../listing.ts';
import type { OperationContext, S3Response } from '../operation.ts';
import type { Query } from '../uri.ts';
import { uriEncodePath } from '../uri.ts';
import { renderXml, S3_NAMESPACE, type XmlNode } from '../xml-writer.ts';
import { OWNER } from './service.ts';

const MAX_KEYS = 1000;

export async function listObjectsV2({ request, store }: OperationContext): Promise<S3Response> {
  const { query } = request;
  const bucket = store.bucket(request.bucket!);
  const token = query.get('continuation-token');
  const startAfter = query.get('start-after');
  const list = listQuery(query);
  const after = token === undefined ? markerCursor(startAfter ?? '', list) : decodeToken(token);
  const page = listPage(bucket, { ...list, after });
  const { encode } = list;
  const document: XmlNode[] = [
    ['Name', bucket.name],
    ['Prefix', encode(list.prefix)],
    ['KeyCount', page.keys.length + page.commonPrefixes.length],
    ['MaxKeys', list.maxKeys],
    ['Delimiter', list.delimiter === '' ? undefined : encode(list.delimiter)],
    ['EncodingType', query.get('encoding-type')],
    ['StartAfter', startAfter && encode(startAfter)],
    ['ContinuationToken', token],
    ['IsTruncated', page.next !== undefined],
    ['NextContinuationToken', page.next && encodeToken(page.next)],
    ...pageNodes(bucket, page, encode, query.get('fetch-owner') === 'true'),
  ];
  return { status: 200, body: renderXml(['ListBucketResult', document], S3_NAMESPACE) };
}

/** The first version of the operation, which older clients still use. */
export async function listObjects({ request, store }: OperationContext): Promise<S3Response> {
  const { query } = request;
  const bucket = store.bucket(request.bucket!);
  const marker = query.get('marker') ?? '';
  const list = listQuery(query);
  const page = listPage(bucket, { ...list, after: markerCursor(marker, list) });
  const { encode } = list;
  const document: XmlNode[] = [
    ['Name', bucket.name],
    ['Prefix', encode(list.prefix)],
    ['Marker', encode(marker)],
    ['MaxKeys', list.maxKeys],
    ['Delimiter', list.delimiter === '' ? undefined : encode(list.delimiter)],
    ['EncodingType', query.get('encoding-type')],
    ['IsTruncated', page.next !== undefined],
    // S3 gives it with a delimiter only; without, the last key serves.
    ['NextMarker', page.next && list.delimiter !== '' ? encode(page.next.value) : undefined],
    ...pageNodes(bucket, page, encode, true),
  ];
  return { status: 200, body: renderXml(['ListBucketResult', document], S3_NAMESPACE) };
}

function listQuery(query: Query) {
  return {
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    maxKeys: parseMaximum(query, 'max-keys', MAX_KEYS),
    encode: listEncoder(query),
  };
}

/** A marker within a common prefix, or that is one as NextMarker may be, leaves all of that prefix behind. */
function markerCursor(marker: string, list: { prefix: string; delimiter: string }): Cursor | undefined {
  if (marker === '') return undefined;
  const { prefix, delimiter } = list;
  const end = delimiter === '' || !marker.startsWith(prefix) ? -1 : marker.indexOf(delimiter, prefix.length);
  if (end < 0) return { kind: 'key', value: marker };
  return { kind: 'prefix', value: marker.slice(0, end + delimiter.length) };
}

function pageNodes(
  bucket: Bucket,
  page: ListingPage,
  encode: (text: string) => string,
  owner: boolean,
): XmlNode[] {
  const contents = page.keys.map((key): XmlNode => {
    const { lastModified, etag, checksum, size } = bucket.head(key);
    return [
      'Contents',
      [
        ['Key', encode(key)],
        ['LastModified', new Date(lastModified).toISOString()],
        ['ETag', `"${etag}"`],
        ['ChecksumAlgorithm', checksum?.algorithm],
        ['ChecksumType', checksum?.type],
        ['Size', size],
        ...(owner ? [OWNER] : []),
        ['StorageClass', 'STANDARD'],
      ],
    ];
  });
  const prefixes = page.commonPrefixes.map(
    (prefix): XmlNode => ['CommonPrefixes', [['Prefix', encode(prefix)]]],
  );
  return [...contents, ...prefixes];
}

/** A whole number from 0, at most `limit`. */
export function parseMaximum(query: Query, name: string, limit: number): number {
  const text = query.get(name);
  if (text === undefined || text === '') return limit;
  if (!/^\d{1,10}$/.test(text)) {
    throw new S3Error('InvalidArgument', `Argument ${name} must be a whole number from 0 to 2147483647`, {
      ArgumentName: name,
      ArgumentValue: text,
    });
  }
  return Math.min(Number(text), limit);
}

/** How names are written in a listing: as they are, or percent-encoded with encoding-type=url. */
export function listEncoder(query: Query): (text: string) => string {
  const type = query.get('encoding-type');
  if (type === undefined) return (text) => text;
  if (type === 'url') return uriEncodePath;
  throw new S3Error('InvalidArgument', 'Invalid Encoding Method specified in Request', {
    ArgumentName: 'encoding-type',
    ArgumentValue: type,
  });
}
