import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { afterAll } from 'vitest';
import { tempFolder } from '../../../support/temp-folder.ts';

/** Files with keys, for the tests of one file: removed after them. */

const folder = tempFolder();
afterAll(() => folder[Symbol.dispose]());

export function secretFile(name: string, content: string | Buffer): string {
  writeFileSync(folder.file(name), content);
  return folder.file(name);
}

/** For `encryption` of the configuration. */
export const keyFile = (name: string, content: string | Buffer = randomBytes(32)) => ({
  keyFile: secretFile(name, content),
});

export const passphrase = (text: string) => ({ passphrase: { file: secretFile('passphrase', text) } });
