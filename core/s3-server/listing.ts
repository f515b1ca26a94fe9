import { S3Error } from './errors.ts';
import { compareUtf8 } from './sorted-keys.ts';

/** Where a page starts: behind a key, or behind everything that begins with a common prefix. */
export type Cursor =
  | { readonly kind: 'key'; readonly value: string }
  | { readonly kind: 'prefix'; readonly value: string };

export interface ListingQuery {
  readonly prefix: string;
  /** Empty: none. */
  readonly delimiter: string;
  readonly after: Cursor | undefined;
  /** Keys and common prefixes together. */
  readonly maxKeys: number;
}

export interface ListingPage {
  readonly keys: readonly string[];
  readonly commonPrefixes: readonly string[];
  /** Where the next page starts; undefined when this is the last. */
  readonly next: Cursor | undefined;
}

/** Something that finds the first key of an order that does not lie in a leading run of it. */
export interface KeyOrder {
  firstKey(isBefore: (key: string) => boolean): string | undefined;
}

/** One page of keys in the order of their UTF-8 bytes; skips over a common prefix in one step. */
export function listPage(order: KeyOrder, query: ListingQuery): ListingPage {
  const { prefix, delimiter, maxKeys } = query;
  const keys: string[] = [];
  const commonPrefixes: string[] = [];
  let cursor = query.after;
  let count = 0;
  if (maxKeys === 0) return { keys, commonPrefixes, next: undefined };
  for (;;) {
    const key = order.firstKey((k) => compareUtf8(k, prefix) < 0 || isAtOrBefore(k, cursor));
    if (key === undefined || !key.startsWith(prefix)) return { keys, commonPrefixes, next: undefined };
    if (count === maxKeys) return { keys, commonPrefixes, next: cursor };
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    if (end < 0) {
      keys.push(key);
      cursor = { kind: 'key', value: key };
    } else {
      const commonPrefix = key.slice(0, end + delimiter.length);
      commonPrefixes.push(commonPrefix);
      cursor = { kind: 'prefix', value: commonPrefix };
    }
    count++;
  }
}

function isAtOrBefore(key: string, cursor: Cursor | undefined): boolean {
  if (!cursor) return false;
  if (cursor.kind === 'prefix' && key.startsWith(cursor.value)) return true;
  return compareUtf8(key, cursor.value) <= 0;
}

/** A cursor as an opaque continuation token. */
export function encodeToken(cursor: Cursor): string {
  return Buffer.from(JSON.stringify([cursor.kind, cursor.value])).toString('base64url');
}

export function decodeToken(token: string): Cursor {
  try {
    const [kind, value] = JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as unknown[];
    if ((kind === 'key' || kind === 'prefix') && typeof value === 'string') return { kind, value };
  } catch {
    // Not JSON: not one of ours.
  }
  throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect', {
    ArgumentName: 'continuation-token',
  });
}
