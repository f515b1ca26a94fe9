import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { childText, parseXml } from '../../../core/s3-server/xml-reader.ts';
import { renderXml } from '../../../core/s3-server/xml-writer.ts';

const SEED = Number(process.env['SEED'] ?? randomInt(2 ** 31));

it(`reads back any text that it wrote (repeat with SEED=${SEED})`, () => {
  const text = fc.string({ unit: 'binary' }).filter((candidate) => candidate.isWellFormed());
  fc.assert(
    fc.property(text, (value) => {
      expect(childText(parseXml(renderXml(['Root', [['Key', value]]])), 'Key')).toBe(value);
    }),
    { seed: SEED, numRuns: 500 },
  );
});

it('reads prefixes, attributes, comments, CDATA, references and empty elements', () => {
  const root = parseXml(
    `<?xml version="1.0"?><!-- hello --><s3:Delete xmlns:s3="x" a='1'><s3:Key>a&amp;&#65;&#x42;<![CDATA[<c>]]></s3:Key><Quiet/></s3:Delete>`,
  );
  expect(root.name).toBe('Delete');
  expect(childText(root, 'Key')).toBe('a&AB<c>');
  expect(childText(root, 'Quiet')).toBe('');
});

describe('refuses', () => {
  it.each([
    ['nothing', ''],
    ['text alone', 'text'],
    ['an element that is not closed', '<a><b></b>'],
    ['elements that overlap', '<a><b></a></b>'],
    ['two roots', '<a/><b/>'],
    ['an unknown entity', '<a>&nbsp;</a>'],
    ['a bare ampersand', '<a>a & b</a>'],
    ['a document type', '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'],
    ['a character that is none', '<a>&#xD800;</a>'],
    ['a bottomless document', '<a>'.repeat(100)],
  ])('%s', (_, document) => {
    expect(() => parseXml(document)).toThrow('not well-formed');
  });
});
