import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { PluginUse } from '../../../core/config/config.ts';
import { excerpt } from '../../../core/config/excerpt.ts';
import { literalSecrets, withoutSecrets } from '../../../core/config/literal-secret.ts';
import { parseDocument } from '../../../core/config/parse.ts';
import { validateConfig } from '../../../core/config/validate.ts';
import { renderError } from '../../../core/util/render-error.ts';

describe('literalSecrets', () => {
  it.each(['password', 'secretAccessKey', 'sessionToken', 'apiKey', 'PASSPHRASE', 'clientSecret'])(
    'finds a text under %s',
    (key) => {
      expect(literalSecrets({ deep: [{ [key]: 'hunter2' }] })).toEqual([
        { path: ['deep', 0, key], value: 'hunter2' },
      ]);
    },
  );

  it('finds numbers and the texts of a list', () => {
    expect(literalSecrets({ password: 1234, token: ['a'] })).toHaveLength(2);
  });

  it('finds a password in a URL', () => {
    expect(literalSecrets({ endpoint: 'redis://:hunter2@host:6379' })).toHaveLength(1);
  });

  it.each([
    ['a reference', { password: { env: 'PASSWORD' } }],
    ['a file', { tokenFile: '/run/secrets/token' }],
    ['an identifier', { accessKeyId: 'AKIAEXAMPLE' }],
    ['a URL with a port', { endpoint: 'http://host:9000/@x' }],
    ['nothing', { password: null }],
  ])('lets pass: %s', (_, config) => {
    expect(literalSecrets(config)).toEqual([]);
  });
});

describe('a secret in a configuration', () => {
  it('reaches no message, even where the plugin quotes it', async () => {
    const schema = z.strictObject({
      password: z.string().refine(() => false, { error: ({ input }) => `bad password ${String(input)}` }),
      host: z.string().refine(() => false, { error: 'hunter2 is not the password of this host' }),
    });
    const use: PluginUse = {
      type: 'x',
      config: { password: 'hunter2', host: 'h' },
      pointer: '/backend',
      locate: (pointer) => ({ file: 'plugins.json', pointer }),
    };
    const error: unknown = await validateConfig(schema, use, 'backend "x"').catch(
      (reason: unknown) => reason,
    );
    const text = renderError(error);
    expect(text).toContain('[secret] is not the password');
    expect(text).not.toContain('hunter2');
  });

  it('is found in a message that quotes it as JSON does', () => {
    const secrets = [{ path: ['password'], value: 'hun"ter2' }];
    expect(withoutSecrets(`not a size: ${JSON.stringify('hun"ter2')}`, secrets)).toBe(
      'not a size: "[secret]"',
    );
  });

  it('is masked in the line of a syntax error, wherever it stands', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          '"k": "hunter2"',
          '"k": "hunter2',
          "'hunter2'",
          'hunter2',
          '"k" "hunter2"',
          '// hunter2',
        ),
        fc.string({ maxLength: 5 }).filter((noise) => !/["\\]/.test(noise)),
        (text, noise) => {
          expect(excerpt(`${noise}${text}`, 1, 1)).not.toContain('hunter2');
        },
      ),
    );
  });
});

describe('parseDocument', () => {
  it('takes any text without throwing', () => {
    const texts = fc.oneof(
      fc.string(),
      fc.json(),
      fc.array(fc.constantFrom(...'{}[]",:/*\\1a\n'.split(''))).map((c) => c.join('')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const { value, problems } = parseDocument(text, 'x.json');
        expect(value !== undefined || problems.length > 0).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
