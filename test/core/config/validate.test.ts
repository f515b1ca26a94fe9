import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { ConfigSchema } from '../../../core/api/schema.ts';
import type { PluginUse } from '../../../core/config/config.ts';
import { validateConfig } from '../../../core/config/validate.ts';
import { renderError } from '../../../core/util/render-error.ts';

async function problemsOf(schema: ConfigSchema<unknown>, config: Record<string, unknown>): Promise<string> {
  const locate = (pointer: string) => ({ file: 'plugins.json', pointer });
  const use: PluginUse = { type: 'x', config, pointer: '/b', locate };
  return validateConfig(schema, use, 'backend "x"').then(JSON.stringify, renderError);
}

describe('validateConfig', () => {
  it('returns what the schema makes of the configuration', async () => {
    expect(await problemsOf(z.strictObject({ a: z.int().default(1) }), {})).toBe('{"a":1}');
  });

  it('reports keys of inner objects with what is known there', async () => {
    const schema = z.strictObject({ tls: z.strictObject({ ca: z.string().optional() }) });
    expect(await problemsOf(schema, { tls: { cert: 1 } })).toMatchInlineSnapshot(`
      "✖ Unknown key "cert" in "tls" of backend "x".
        Where  plugins.json  (/b/tls/cert)
        Why    Known here: ca.
        Fix    Remove it.
        Code   config.unknown-key"
    `);
  });

  it('reports the branch of a union that was meant', async () => {
    const schema = z.strictObject({ at: z.union([z.string(), z.strictObject({ port: z.int() })]) });
    expect(await problemsOf(schema, { at: { port: 'x' } })).toMatchInlineSnapshot(`
      "✖ Wrong value for "port" in "at" of backend "x".
        Where  plugins.json  (/b/at/port)
        Why    Expected number, received string.
        Fix    Write a whole number that fits.
        Code   config.invalid"
    `);
  });

  it('names the types of a union of which none fits', async () => {
    const schema = z.strictObject({ at: z.union([z.string(), z.strictObject({ port: z.int() })]) });
    expect(await problemsOf(schema, { at: true })).toMatchInlineSnapshot(`
      "✖ Wrong value for "at" in backend "x".
        Where  plugins.json  (/b/at)
        Why    Expected string or object, received boolean.
        Fix    Write a text that fits, in double quotes.
        Code   config.invalid"
    `);
  });

  it('names the entry of a list by that of the list', async () => {
    const schema = z.strictObject({ hosts: z.array(z.string()) });
    expect(await problemsOf(schema, { hosts: ['a', 5] })).toMatchInlineSnapshot(`
      "✖ Wrong value for "hosts" in backend "x".
        Where  plugins.json  (/b/hosts/1)
        Why    Expected string, received number.
        Fix    Write a text that fits, in double quotes.
        Code   config.invalid"
    `);
  });

  it('keeps the words of a schema that looks at several keys', async () => {
    const schema = z
      .strictObject({ user: z.string().optional(), realm: z.string().optional() })
      .refine(({ user, realm }) => !user || realm, { path: ['realm'], error: 'a user belongs to a realm' });
    expect(await problemsOf(schema, { user: 'me' })).toMatchInlineSnapshot(`
      "✖ "realm" is missing in backend "x".
        Where  plugins.json  (/b/realm)
        Why    A user belongs to a realm.
        Fix    Add "realm".
        Code   config.missing-key"
    `);
  });

  it('takes any validator that follows Standard Schema', async () => {
    const schema: ConfigSchema<unknown> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: () => ({ issues: [{ message: 'host must be a name', path: [{ key: 'host' }] }] }),
      },
    };
    expect(await problemsOf(schema, { host: 5 })).toMatchInlineSnapshot(`
      "✖ Wrong value for "host" in backend "x".
        Where  plugins.json  (/b/host)
        Why    Host must be a name.
        Fix    Correct the value.
        Code   config.invalid"
    `);
  });
});
