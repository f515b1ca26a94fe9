import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { inspect } from 'node:util';
import { GatewayError } from '../api/errors.ts';

/** How a configuration names a secret: never by its value. */
export type SecretRef = { readonly env: string } | { readonly file: string };

/** A value that prints as `[secret]` wherever it ends up: logs, JSON, errors, `util.inspect`. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself; call it where it is used, and keep the result nowhere. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}

/** Reads a secret. A file's one trailing newline is not part of it; relative paths start at `baseDir`. */
export async function resolveSecret(ref: SecretRef, baseDir: string): Promise<Secret> {
  if ('env' in ref) {
    const value = process.env[ref.env];
    if (value === undefined || value === '') {
      throw new GatewayError('secret.missing', `Environment variable ${ref.env} is not set.`, {
        why: 'The configuration names it as the source of a secret.',
        fix: `Set ${ref.env} for the gateway, or name a file with { "file": … }.`,
      });
    }
    return new Secret(value);
  }
  const path = resolve(baseDir, ref.file);
  try {
    return new Secret((await readFile(path, 'utf8')).replace(/\r?\n$/, ''));
  } catch (cause) {
    throw new GatewayError('secret.missing', `Secret file ${path} cannot be read.`, {
      why: (cause as Error).message,
      fix: 'Create the file, readable by the gateway alone (mode 0600).',
      cause,
    });
  }
}
