import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readKeySource } from '../../../../backends/s3/log/encryption/key-source.ts';
import { context } from '../harness.ts';
import { refusal } from './disk.ts';
import { keyFile, passphrase } from './key-files.ts';

describe('the source of a key', () => {
  const key = randomBytes(32);
  const read = (encryption: Parameters<typeof readKeySource>[0]) =>
    readKeySource(encryption, { ...context(), baseDir: '/' });

  it.each([
    ['32 bytes', key],
    ['base64 with a line feed', `${key.toString('base64')}\n`],
    ['base64url', key.toString('base64url')],
  ])('may be a file with %s', async (_name, content) => {
    expect(await read(keyFile('some', content))).toEqual({ kind: 'key', key });
  });

  it.each([
    ['nothing', ''],
    ['16 bytes', randomBytes(16).toString('base64')],
    ['33 bytes', Buffer.concat([key, Buffer.from('\n')])],
  ])('is refused when it is a file with %s', async (_name, content) => {
    expect(await refusal(read(keyFile('some', content)))).toMatchObject({
      code: 'volume.bad-key',
      message: `The key file ${keyFile('some', content).keyFile} holds no key.`,
    });
  });

  it('is refused when there is none', async () => {
    expect((await refusal(read({ keyFile: '/nonexistent' }))).code).toBe('volume.bad-key');
    expect((await refusal(read({ passphrase: { file: '/nonexistent' } }))).code).toBe('secret.missing');
    expect((await refusal(read(passphrase('')))).code).toBe('volume.bad-key');
  });

  it('may be a command that succeeds, and shows nothing of what it says', async () => {
    const shell = (script: string) => read({ keyCommand: ['sh', '-c', script] });
    expect(await shell(`echo ${key.toString('base64')}`)).toEqual({ kind: 'key', key });
    const error = await refusal(shell('echo secret; echo secret >&2; exit 3'));
    expect(error).toMatchObject({ code: 'volume.bad-key', why: 'It ended with 3.' });
    expect(JSON.stringify([error, error.message, error.why, error.fix, error.cause])).not.toContain('secret');
    expect((await refusal(read({ keyCommand: ['/nonexistent'] }))).why).toBe('It ended with ENOENT.');
    expect((await refusal(shell('echo nothing'))).message).toBe('The output of sh holds no key.');
  });
});
