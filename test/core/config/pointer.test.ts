import fc from 'fast-check';
import { parseTree } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { fromPointer, positionAt, TextLocator, toPointer } from '../../../core/config/pointer.ts';

describe('JSON pointers', () => {
  it('escape what RFC 6901 says', () => {
    expect(toPointer(['a/b', 'm~n', 0])).toBe('/a~1b/m~0n/0');
    expect(toPointer([])).toBe('');
  });

  it('come back as they were', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (path) => {
        expect(fromPointer(toPointer(path))).toEqual(path);
      }),
    );
  });
});

describe('positionAt', () => {
  it.each([
    [0, 1, 1],
    [2, 1, 3],
    [3, 2, 1],
    [5, 3, 1],
  ])('offset %i is line %i, column %i', (offset, line, column) => {
    expect(positionAt('ab\nc\nd', offset)).toEqual({ line, column });
  });

  it('counts a CRLF as one end of line', () => {
    expect(positionAt('a\r\nb', 3)).toEqual({ line: 2, column: 1 });
  });
});

describe('TextLocator', () => {
  const text = '{\n  "a": [1, { "b": 2 }]\n}';
  const locator = new TextLocator('x.json', text, parseTree(text));

  it('finds a value', () => {
    expect(locator.locate('/a/1/b')).toEqual({ file: 'x.json', line: 2, column: 19, pointer: '/a/1/b' });
  });

  it('finds a key', () => {
    expect(locator.locate('/a/1/b', 'key')).toMatchObject({ line: 2, column: 14 });
  });

  it('locates what does not exist at what would hold it', () => {
    expect(locator.locate('/a/1/c')).toEqual({ file: 'x.json', line: 2, column: 12, pointer: '/a/1/c' });
  });

  it('gives the whole document no pointer', () => {
    expect(locator.locate('')).toEqual({ file: 'x.json', line: 1, column: 1 });
  });
});
