import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { GatewayError, type PluginContext, resolveSecret, type Secret } from '../../../../core/plugin.ts';
import type { EncryptionConfig } from '../../encryption-config.ts';
import { KEY_BYTES } from './volume-key.ts';

/** A command that takes longer hangs. Milliseconds. */
const COMMAND_MS = 60_000;
const MAX_OUTPUT = 64 * 1024;
const FIX = `Make a key with "openssl rand -base64 ${KEY_BYTES}", and keep a copy of it: without it the data is lost.`;

/** What a person or a program has to open a volume with. */
export type KeySource =
  | { readonly kind: 'passphrase'; readonly passphrase: Secret }
  | { readonly kind: 'key'; readonly key: Buffer };

type Where = Pick<PluginContext, 'baseDir' | 'signal'>;

/** Throws `secret.missing` or `volume.bad-key`. */
export async function readKeySource(encryption: EncryptionConfig, where: Where): Promise<KeySource> {
  if ('passphrase' in encryption) {
    const passphrase = await resolveSecret(encryption.passphrase, where.baseDir);
    if (passphrase.reveal() === '')
      throw new GatewayError('volume.bad-key', 'The passphrase of the volume is empty.', {
        fix: 'Write it into the file that "passphrase" names.',
      });
    return { kind: 'passphrase', passphrase };
  }
  if ('keyFile' in encryption) {
    const path = resolve(where.baseDir, encryption.keyFile);
    return { kind: 'key', key: keyIn(await readKeyFile(path), `The key file ${path}`) };
  }
  const [program] = encryption.keyCommand;
  const output = await run(encryption.keyCommand, where);
  return { kind: 'key', key: keyIn(output, `The output of ${program}`) };
}

async function readKeyFile(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new GatewayError('volume.bad-key', `The key file ${path} cannot be read.`, {
      why: (cause as Error).message,
      fix: 'Correct "keyFile"; relative paths start at the folder of plugins.json.',
      cause,
    });
  }
}

/** Of what the command says only the exit status is shown: the rest may be secret. */
function run([program, ...args]: readonly string[], { baseDir, signal }: Where): Promise<Buffer> {
  const options = {
    cwd: baseDir,
    signal,
    timeout: COMMAND_MS,
    maxBuffer: MAX_OUTPUT,
    encoding: 'buffer',
  } as const;
  return new Promise((resolve, reject) => {
    execFile(program!, args, options, (error, stdout) => {
      if (error === null) return resolve(stdout);
      const { code, killed } = error;
      const why = killed ? 'It was ended, or took too long.' : `It ended with ${code}.`;
      reject(
        new GatewayError('volume.bad-key', `The command ${program} of "keyCommand" gave no key.`, {
          why,
          fix: `Try it by hand in ${baseDir}: it has to print the key and end with status 0.`,
        }),
      );
    }).stdin?.end();
  });
}

/** 32 bytes as they are, or in base64 with white space around. */
function keyIn(bytes: Buffer, what: string): Buffer {
  if (bytes.length === KEY_BYTES) return bytes;
  const text = bytes.toString('latin1').trim();
  const key = /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : undefined;
  if (key?.length === KEY_BYTES) return key;
  throw new GatewayError('volume.bad-key', `${what} holds no key.`, {
    why: `It is neither ${KEY_BYTES} bytes nor base64 of ${KEY_BYTES} bytes.`,
    fix: FIX,
  });
}
