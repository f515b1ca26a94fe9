import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { resolveSecret, Secret } from '../../../core/util/secret.ts';

describe('Secret', () => {
  it('prints as [secret] wherever it ends up', () => {
    const secret = new Secret('hunter2');
    const printed = [
      `${secret}`,
      JSON.stringify({ secret }),
      inspect({ secret }),
      inspect(secret, { showHidden: true }),
    ];
    for (const text of printed) {
      expect(text).toContain('[secret]');
      expect(text).not.toContain('hunter2');
    }
    expect(secret.reveal()).toBe('hunter2');
  });

  it('names the variable or the file that is missing', async () => {
    await expect(resolveSecret({ env: 'BLOCKGATE_TEST_UNSET' }, '/')).rejects.toMatchObject({
      code: 'secret.missing',
      message: 'Environment variable BLOCKGATE_TEST_UNSET is not set.',
    });
    await expect(resolveSecret({ file: 'nowhere/key' }, '/tmp')).rejects.toMatchObject({
      code: 'secret.missing',
      message: 'Secret file /tmp/nowhere/key cannot be read.',
    });
  });
});
