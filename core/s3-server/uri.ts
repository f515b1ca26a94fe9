import { S3Error } from './errors.ts';

/** Percent-encodes all but A-Z a-z 0-9 - . _ ~ (RFC 3986 unreserved), as Signature Version 4 wants it. */
export function uriEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** As `uriEncode`, with the slashes of a path left alone. */
export function uriEncodePath(path: string): string {
  return uriEncode(path).replaceAll('%2F', '/');
}

/** Undoes percent-encoding; `InvalidURI` when it is malformed or not UTF-8. */
export function uriDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new S3Error('InvalidURI', undefined, {}, cause);
  }
}

/** The decoded parameters of a query string, in their order. A plus sign is a space, as in HTML forms. */
export class Query {
  readonly pairs: readonly (readonly [name: string, value: string])[];

  constructor(queryString: string) {
    this.pairs = queryString
      .split('&')
      .filter((part) => part !== '')
      .map((part) => {
        const equals = part.indexOf('=');
        const [name, value] = equals < 0 ? [part, ''] : [part.slice(0, equals), part.slice(equals + 1)];
        return [uriDecode(name.replaceAll('+', ' ')), uriDecode(value.replaceAll('+', ' '))] as const;
      });
  }

  /** The first value of `name`; the empty string when it has none, undefined when it is absent. */
  get(name: string): string | undefined {
    return this.pairs.find(([n]) => n === name)?.[1];
  }

  has(name: string): boolean {
    return this.pairs.some(([n]) => n === name);
  }
}
