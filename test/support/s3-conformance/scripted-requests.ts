import { createHash } from 'node:crypto';
import { pattern } from './context.ts';
import type { RawRequest, RawResponse } from './raw-client.ts';

/** What earlier responses of one server told, for later requests to it. */
export type Memory = Map<'uploadId' | 'token', string>;

export interface ScriptedRequest {
  readonly what: string;
  readonly request: (memory: Memory) => RawRequest;
  /** Keeps something of the response in mind. */
  readonly remember?: (response: RawResponse, memory: Memory) => void;
}

const md5 = (text: string | Buffer): string => createHash('md5').update(text).digest('base64');
const etag = (text: string | Buffer): string => `"${createHash('md5').update(text).digest('hex')}"`;
const element = (response: RawResponse, name: string): string =>
  new RegExp(`<${name}>([^<]+)<`).exec(response.body.toString())?.[1] ?? '';

const PART = pattern(5 * 2 ** 20);
const LAST_PART = 'the last part';

/** Every operation once, then what is wrong with requests, on a bucket of its own. */
export function scriptedRequests(bucket: string): ScriptedRequest[] {
  const fixed = (what: string, request: RawRequest): ScriptedRequest => ({ what, request: () => request });
  const onBucket = (
    what: string,
    method: string,
    query: Record<string, string> = {},
    more: Partial<RawRequest> = {},
  ) => fixed(what, { method, path: `/${bucket}`, query, ...more });
  const onObject = (what: string, method: string, key: string, more: Partial<RawRequest> = {}) =>
    fixed(what, { method, path: `/${bucket}/${key}`, ...more });
  const onUpload = (
    what: string,
    method: string,
    more: Partial<RawRequest> = {},
    query: Record<string, string> = {},
  ) => ({
    what,
    request: (memory: Memory): RawRequest => ({
      method,
      path: `/${bucket}/multi`,
      query: { uploadId: memory.get('uploadId')!, ...query },
      ...more,
    }),
  });
  const deleteObjects = (
    what: string,
    body: string,
    headers: Record<string, string> = { 'content-md5': md5(body) },
  ) => onBucket(what, 'POST', { delete: '' }, { body, headers });
  const complete = (what: string, etags: readonly string[]) => {
    const parts = etags.map((tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${tag}</ETag></Part>`);
    return onUpload(what, 'POST', {
      body: `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`,
    });
  };
  const metadata = {
    'content-type': 'text/x-test',
    'cache-control': 'no-store',
    'content-disposition': 'inline; filename="a b"',
    'content-language': 'de',
    'x-amz-meta-colour': 'blue',
    'x-amz-meta-empty': '',
  };
  return [
    onBucket('create the bucket', 'PUT'),
    onBucket('create it again', 'PUT'),
    onBucket('head it', 'HEAD'),
    onBucket('its location', 'GET', { location: '' }),
    onBucket('its versioning', 'GET', { versioning: '' }),
    fixed('head a missing bucket', { method: 'HEAD', path: `/${bucket}-not` }),
    fixed('list a missing bucket', { method: 'GET', path: `/${bucket}-not`, query: { 'list-type': '2' } }),
    fixed('delete a missing bucket', { method: 'DELETE', path: `/${bucket}-not` }),
    fixed('a bucket name too short', { method: 'PUT', path: '/ab' }),

    onObject('put with metadata', 'PUT', 'object', { headers: metadata, body: 'content' }),
    onObject('get it', 'GET', 'object'),
    onObject('head it', 'HEAD', 'object'),
    onObject('get with overrides', 'GET', 'object', { query: { 'response-content-type': 'text/other' } }),
    onObject('get if modified since 2001', 'GET', 'object', {
      headers: { 'if-modified-since': 'Mon, 01 Jan 2001 00:00:00 GMT' },
    }),
    onObject('get if unmodified since 2001', 'GET', 'object', {
      headers: { 'if-unmodified-since': 'Mon, 01 Jan 2001 00:00:00 GMT' },
    }),
    onObject('get with a matching and a stale tag', 'GET', 'object', {
      headers: { 'if-match': etag('content'), 'if-none-match': etag('other') },
    }),
    onObject('get several ranges', 'GET', 'object', { headers: { range: 'bytes=0-1,3-4' } }),
    onObject('get a range in another unit', 'GET', 'object', { headers: { range: 'lines=0-1' } }),
    onObject('get a range that ends before it starts', 'GET', 'object', { headers: { range: 'bytes=4-2' } }),
    onObject('get a range that ends before it starts with a stale tag', 'GET', 'object', {
      headers: { range: 'bytes=4-2', 'if-match': etag('other') },
    }),
    onObject('get the last 0 bytes', 'GET', 'object', { headers: { range: 'bytes=-0' } }),
    onObject('put with a slash and a space', 'PUT', 'a/b%20c', { body: 'x' }),
    onBucket('list percent-encoded', 'GET', {
      'list-type': '2',
      'encoding-type': 'url',
      'start-after': 'a b',
    }),
    onObject('delete a missing key if it matches', 'DELETE', 'missing', {
      headers: { 'if-match': etag('x') },
    }),
    onObject('delete the key with a slash', 'DELETE', 'a/b%20c'),
    onObject('put an empty object', 'PUT', 'empty', { body: '' }),
    onObject('put with Content-MD5', 'PUT', 'summed', { headers: { 'content-md5': md5('x') }, body: 'x' }),
    onObject('put with a wrong Content-MD5', 'PUT', 'summed', {
      headers: { 'content-md5': md5('y') },
      body: 'x',
    }),
    onObject('put with a senseless Content-MD5', 'PUT', 'summed', {
      headers: { 'content-md5': 'x' },
      body: 'x',
    }),

    onObject('copy', 'PUT', 'copy', { headers: { 'x-amz-copy-source': `/${bucket}/object` } }),
    onObject('head the copy', 'HEAD', 'copy'),
    onObject('copy from a missing bucket', 'PUT', 'copy', {
      headers: { 'x-amz-copy-source': `/${bucket}-not/object` },
    }),
    onObject('copy from a missing key', 'PUT', 'copy', {
      headers: { 'x-amz-copy-source': `/${bucket}/missing` },
    }),
    onObject('copy from no key', 'PUT', 'copy', { headers: { 'x-amz-copy-source': bucket } }),
    onObject('copy with a senseless directive', 'PUT', 'copy', {
      headers: { 'x-amz-copy-source': `/${bucket}/object`, 'x-amz-metadata-directive': 'SHUFFLE' },
    }),

    {
      ...onObject('create an upload', 'POST', 'multi', { query: { uploads: '' } }),
      remember: (r, m) => void m.set('uploadId', element(r, 'UploadId')),
    },
    onUpload('first part', 'PUT', { body: PART }, { partNumber: '1' }),
    onUpload('last part', 'PUT', { body: LAST_PART }, { partNumber: '2' }),
    onUpload('list parts', 'GET'),
    onUpload('list one part', 'GET', {}, { 'max-parts': '1' }),
    onBucket('list uploads', 'GET', { uploads: '' }),
    complete('complete with a wrong tag', [etag('x'), etag(LAST_PART)]),
    complete('complete without parts', []),
    onUpload('complete with broken XML', 'POST', { body: '<CompleteMultipartUpload><Part>' }),
    complete('complete', [etag(PART), etag(LAST_PART)]),
    onObject('head the joined object', 'HEAD', 'multi'),
    onObject('read over the joint', 'GET', 'multi', { headers: { range: `bytes=${PART.length - 4}-` } }),
    complete('complete again', [etag(PART), etag(LAST_PART)]),
    onUpload('list parts of an ended upload', 'GET'),
    onUpload('a part for an ended upload', 'PUT', { body: 'x' }, { partNumber: '1' }),

    {
      ...onBucket('first page', 'GET', { 'list-type': '2', 'max-keys': '2' }),
      remember: (r, m) => void m.set('token', element(r, 'NextContinuationToken')),
    },
    {
      what: 'second page',
      request: (memory) => ({
        method: 'GET',
        path: `/${bucket}`,
        query: { 'list-type': '2', 'max-keys': '2', 'continuation-token': memory.get('token')! },
      }),
    },
    onBucket('first version of the list', 'GET', { 'max-keys': '3' }),
    onBucket('list with a senseless maximum', 'GET', { 'list-type': '2', 'max-keys': 'many' }),
    onBucket('list with a negative maximum', 'GET', { 'list-type': '2', 'max-keys': '-1' }),
    onBucket('list with a senseless encoding', 'GET', { 'list-type': '2', 'encoding-type': 'rot13' }),

    deleteObjects(
      'delete objects',
      '<Delete><Object><Key>copy</Key></Object><Object><Key>empty</Key></Object></Delete>',
    ),
    deleteObjects('delete quietly', '<Delete><Quiet>true</Quiet><Object><Key>summed</Key></Object></Delete>'),
    deleteObjects('delete with broken XML', '<Delete><Object>'),
    deleteObjects('delete nothing', '<Delete></Delete>'),
    deleteObjects('delete without a digest', '<Delete><Object><Key>object</Key></Object></Delete>', {}),
    onBucket('delete the bucket with objects in it', 'DELETE'),
    onObject('delete one', 'DELETE', 'object'),
    onObject('delete the other', 'DELETE', 'multi'),
    onBucket('delete the empty bucket', 'DELETE'),
    onBucket('delete it again', 'DELETE'),
  ];
}
