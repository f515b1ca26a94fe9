import { createHash } from 'node:crypto';
import { seededRandom } from '../../../core/util/random.ts';
import type { RawRequest } from './raw-client.ts';

const KEYS = ['a', 'a/', 'a/b', 'a/b/c', 'a//b', 'b', 'b c+d', 'ü/😀', 'z%41', '~'];
const PREFIXES = ['', 'a', 'a/', 'b', 'none', 'ü'];
const BODIES = Array.from({ length: 6 }, (_, i) => Buffer.alloc(i * 97, 65 + i));
const ETAGS = BODIES.map((body) => `"${createHash('md5').update(body).digest('hex')}"`);
const RANGES = [
  'bytes=0-9',
  'bytes=50-',
  'bytes=-20',
  'bytes=90-1000',
  'bytes=5000-',
  'bytes=-0',
  'bytes=9-3',
];

/** A repeatable sequence of requests on one bucket, over few keys so that they often meet. */
export function randomRequests(bucket: string, seed: number, count: number): RawRequest[] {
  const random = seededRandom(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const chance = (probability: number): boolean => random() < probability;
  const objectPath = () => `/${bucket}/${encodeKey(pick(KEYS))}`;

  const put = (): RawRequest => {
    const headers: Record<string, string> = { 'content-type': pick(['text/plain', 'application/x-test']) };
    if (chance(0.3)) headers['x-amz-meta-colour'] = pick(['red', 'green']);
    if (chance(0.25)) headers['if-none-match'] = '*';
    else if (chance(0.3)) headers['if-match'] = pick(ETAGS);
    return { method: 'PUT', path: objectPath(), headers, body: pick(BODIES) };
  };
  const read = (method: string): RawRequest => {
    const headers: Record<string, string> = {};
    if (chance(0.4)) headers['range'] = pick(RANGES);
    if (chance(0.2)) headers['if-match'] = pick(ETAGS);
    if (chance(0.2)) headers['if-none-match'] = pick(ETAGS);
    return { method, path: objectPath(), headers };
  };
  const remove = (): RawRequest => {
    const headers: Record<string, string> = chance(0.5) ? { 'if-match': pick(ETAGS) } : {};
    return { method: 'DELETE', path: objectPath(), headers };
  };
  const list = (): RawRequest => {
    const query: Record<string, string> = { 'list-type': '2', prefix: pick(PREFIXES) };
    if (chance(0.5)) query['delimiter'] = '/';
    if (chance(0.4)) query['max-keys'] = String(Math.floor(random() * 5));
    if (chance(0.4)) query['start-after'] = pick(KEYS);
    if (chance(0.3)) query['encoding-type'] = 'url';
    return { method: 'GET', path: `/${bucket}`, query };
  };
  const copy = (): RawRequest => {
    const headers: Record<string, string> = { 'x-amz-copy-source': `${bucket}/${encodeKey(pick(KEYS))}` };
    if (chance(0.3)) headers['x-amz-copy-source-if-match'] = pick(ETAGS);
    if (chance(0.5)) {
      headers['x-amz-metadata-directive'] = 'REPLACE';
      headers['x-amz-meta-copied'] = 'yes';
      headers['content-type'] = 'text/x-copied';
    }
    return { method: 'PUT', path: objectPath(), headers };
  };
  const removeSeveral = (): RawRequest => {
    const keys = [pick(KEYS), pick(KEYS), 'never there'];
    const objects = keys.map((key) => `<Object><Key>${key}</Key></Object>`).join('');
    const body = `<Delete>${objects}</Delete>`;
    const headers = { 'content-md5': createHash('md5').update(body).digest('base64') };
    return { method: 'POST', path: `/${bucket}`, query: { delete: '' }, headers, body };
  };
  const kinds = [
    put,
    put,
    put,
    () => read('GET'),
    () => read('GET'),
    () => read('HEAD'),
    remove,
    list,
    list,
    copy,
    removeSeveral,
  ];
  return Array.from({ length: count }, () => pick(kinds)());
}

function encodeKey(key: string): string {
  return encodeURIComponent(key)
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}
