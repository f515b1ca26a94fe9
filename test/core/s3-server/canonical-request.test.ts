import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalPath, canonicalQuery } from '../../../core/s3-server/canonical-request.ts';
import { Query } from '../../../core/s3-server/uri.ts';

const SEED = Number(process.env['SEED'] ?? randomInt(2 ** 31));

/** Keys with everything that has ever been encoded wrongly. */
const keys = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '/',
        '//',
        '+',
        ' ',
        '%',
        '%2F',
        '..',
        '.',
        '~',
        '&',
        '=',
        '?',
        '#',
        "'",
        '(',
        ')',
        '*',
        '!',
        '@',
      ),
      fc.string({ unit: 'grapheme', maxLength: 4 }),
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map((parts) => parts.join(''))
  .filter((key) => key.isWellFormed());

const strict = (text: string): string =>
  [...Buffer.from(text)]
    .map((byte) => {
      const char = String.fromCharCode(byte);
      return /[A-Za-z0-9\-._~]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');

describe(`canonical form (repeat with SEED=${SEED})`, () => {
  it('of a path is its strict encoding, whatever of it the client left unencoded', () => {
    fc.assert(
      fc.property(keys, (key) => {
        const expected = key.split('/').map(strict).join('/');
        const loose = key.split('/').map(encodeURIComponent).join('/');
        expect(canonicalPath(`/bucket/${loose}`)).toBe(`/bucket/${expected}`);
        expect(canonicalPath(`/bucket/${expected}`)).toBe(`/bucket/${expected}`);
      }),
      { seed: SEED },
    );
  });

  it('of a query is sorted, strictly encoded, and leaves the signature out', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(keys, keys), { maxLength: 5 }), (pairs) => {
        const sent = pairs.map(([name, value]) => `${strict(name)}=${strict(value)}`);
        const expected = pairs
          .map(([name, value]) => [strict(name), strict(value)] as const)
          .sort((a, b) => Buffer.compare(Buffer.from(a.join('\0')), Buffer.from(b.join('\0'))))
          .map((pair) => pair.join('='))
          .join('&');
        const query = new Query([...sent, 'X-Amz-Signature=abc'].join('&'));
        expect(canonicalQuery(query.pairs)).toBe(expected);
      }),
      { seed: SEED },
    );
  });

  it('reads a plus sign in a query as a space', () => {
    expect(new Query('prefix=a+b%2Bc').get('prefix')).toBe('a b+c');
  });

  it.each(['/bucket/%', '/bucket/%zz', '/bucket/%ff'])('refuses the path %s', (path) => {
    expect(() => canonicalPath(path)).toThrow("Couldn't parse the specified URI.");
  });
});
