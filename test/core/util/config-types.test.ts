import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { secretSchema, sizeSchema } from '../../../core/util/config-types.ts';
import { parseSize } from '../../../core/util/size.ts';

const GIB = 2 ** 30;

function jsonSchemaOf(schema: ReturnType<typeof sizeSchema>): Record<string, unknown> {
  return schema['~standard'].jsonSchema.input({ target: 'draft-07' });
}

describe('sizeSchema', () => {
  it.each([
    ['a number of bytes', 4096, 4096],
    ['a text with a unit', '10GiB', 10 * GIB],
  ])('takes %s', (_, written, bytes) => {
    expect(sizeSchema().parse(written)).toBe(bytes);
  });

  it.each([
    ['what is not a size', {}, 'a lot', /not a size: "a lot"/],
    ['too little', { min: 4096 }, '512', /^512 B is less than 4 KiB$/],
    ['too much', { max: GIB }, '2GiB', /^2 GiB is more than 1 GiB$/],
    ['a part of a sector', { multipleOf: 512 }, 1000, /^1000 is not a multiple of 512$/],
  ])('refuses %s', (_, range, written, message) => {
    const { error } = sizeSchema(range).safeParse(written);
    expect(error?.issues[0]?.message).toMatch(message);
  });

  it('gives examples that it would take', () => {
    for (const range of [{}, { max: GIB }, { max: 2 ** 20 }, { min: 2 ** 20, multipleOf: 512 }]) {
      const { examples } = jsonSchemaOf(sizeSchema(range));
      expect(examples).not.toEqual([]);
      for (const example of examples as string[])
        expect(sizeSchema(range).safeParse(example).success).toBe(true);
    }
  });

  it('lets editors take the same texts as parseSize', () => {
    const validate = new Ajv({ strict: false }).compile(jsonSchemaOf(sizeSchema()));
    const texts = [
      '0',
      '512',
      ' 1.5 T ',
      '64MiB',
      '2PiB',
      '10GB',
      '1kB',
      '1KB',
      '3B',
      'G',
      '1GiBs',
      '-1',
      '1e3',
      '',
    ];
    for (const text of texts) expect([text, validate(text)]).toEqual([text, parseSize(text) !== undefined]);
  });
});

describe('secretSchema', () => {
  it.each([[{ env: 'NAME' }], [{ file: '/run/secret' }]])('takes a reference: %j', (reference) => {
    expect(secretSchema().parse(reference)).toEqual(reference);
  });

  it.each([['hunter2'], [{ env: 'A', file: 'b' }], [{}]])('refuses %j, without repeating it', (value) => {
    const { error } = secretSchema().safeParse(value);
    expect(error?.issues[0]?.message).toBe(
      'a secret is written { "env": "NAME" } or { "file": "path" }, never as its value',
    );
  });
});
