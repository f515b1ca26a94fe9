import { describe, expect, it } from 'vitest';
import { API_VERSION } from '../../../core/api/version.ts';
import { anyPluginOf, pluginOf } from '../../../core/plugins/shape.ts';

const config = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } };
const backend = {
  kind: 'backend',
  apiVersion: API_VERSION,
  name: 'x',
  description: 'X.',
  config,
  open: () => {},
};
const stance = {
  read: 'pass',
  write: 'own',
  flush: 'pass',
  discard: 'reject',
  writeZeroes: 'own',
  extents: 'pass',
  prefetch: 'pass',
};
const filter = { ...backend, kind: 'filter', stance, wrap: () => {} };

function whyOf(plugin: unknown): string | undefined {
  try {
    anyPluginOf({ default: plugin }, 'plugin under test');
    return undefined;
  } catch (error) {
    const { code, why } = error as { code: string; why: string };
    return `${code}: ${why}`;
  }
}

describe('a module is a plugin', () => {
  it.each([
    ['backend', backend],
    ['filter', filter],
    ['frontend', { ...backend, kind: 'frontend', attach: () => {} }],
  ])('when its default export is a whole %s', (_, plugin) => {
    expect(whyOf(plugin)).toBeUndefined();
  });

  it('also with a schema that is a function, as some validators make', () => {
    const schema = Object.assign(() => {}, config);
    expect(whyOf({ ...backend, config: schema })).toBeUndefined();
  });

  it.each([
    ['nothing', undefined, 'There is no default export.'],
    ['a number', 5, 'The default export is a value of type number.'],
    [
      'an unknown kind',
      { ...backend, kind: 'middleware' },
      '"kind" is "middleware", not "backend", "filter" or "frontend".',
    ],
    ['no API version', { ...backend, apiVersion: '1' }, '"apiVersion" is not a whole number.'],
    [
      'no name',
      { ...backend, name: undefined },
      '"name" is missing, not a word of lower-case letters, digits and hyphens.',
    ],
    ['no description', { ...backend, description: 5 }, '"description" is not a string.'],
    [
      'no schema',
      { ...backend, config: {} },
      '"config" is not a Standard Schema, such as one made with zod 4.',
    ],
    ['no open', { ...backend, open: undefined }, '"open" is not a function.'],
    ['no wrap', { ...filter, wrap: undefined }, '"wrap" is not a function.'],
    ['no attach', { ...backend, kind: 'frontend' }, '"attach" is not a function.'],
    [
      'no stance',
      { ...filter, stance: undefined },
      '"stance" says nothing about read, write, flush, discard, writeZeroes, extents, prefetch.',
    ],
    [
      'half a stance',
      { ...filter, stance: { ...stance, flush: undefined, extents: 'maybe' } },
      '"stance" says nothing about flush, extents.',
    ],
  ])('not with %s', (_, plugin, why) => {
    expect(whyOf(plugin)).toBe(`plugin.bad-shape: ${why}`);
  });

  it('not when it was made for another API', () => {
    expect(whyOf({ ...backend, apiVersion: API_VERSION + 1 })).toMatch(/^plugin.api-too-new/);
    expect(whyOf({ ...backend, apiVersion: 0 })).toMatch(/^plugin.api-too-old/);
    expect(whyOf({ ...backend, apiVersion: 1 })).toBeUndefined();
    expect(whyOf({ ...filter, apiVersion: API_VERSION - 1 })).toMatch(/^plugin.api-too-old/);
    expect(whyOf({ ...filter, apiVersion: 0 })).toMatch(/^plugin.api-too-old/);
  });

  it('not when it is of another kind than expected', () => {
    expect(() => pluginOf({ default: filter }, { kind: 'backend', name: 'x' }, 'backend "x"')).toThrow(
      expect.objectContaining({ why: '"kind" is "filter", the manifest says "backend".' }),
    );
  });
});
