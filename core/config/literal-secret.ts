import { GatewayError } from '../api/errors.ts';
import type { PluginUse } from './config.ts';
import { type Path, toPointer } from './pointer.ts';

/** A secret that was written into the configuration itself. `value` must reach no message and no log. */
export interface LiteralSecret {
  readonly path: Path;
  readonly value: string;
}

const SECRET_KEY =
  /(?:password|passwd|passphrase|secret|secretAccessKey|secretKey|privateKey|apiKey|token)$/i;
const URL_WITH_PASSWORD = /^[a-z][a-z0-9+.-]*:\/\/[^/@\s]*:[^/@\s]+@/i;

/** Strings under keys that name a secret, and URLs that carry a password. */
export function literalSecrets(value: unknown, path: Path = []): LiteralSecret[] {
  if (typeof value === 'string' || typeof value === 'number') {
    const key = path.at(-1);
    const text = String(value);
    const secret = (typeof key === 'string' && SECRET_KEY.test(key)) || URL_WITH_PASSWORD.test(text);
    return secret ? [{ path, value: text }] : [];
  }
  if (typeof value !== 'object' || value === null) return [];
  // An element of a list goes by the name of its list.
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown, index) =>
      typeof item === 'string' && SECRET_KEY.test(String(path.at(-1)))
        ? [{ path: [...path, index], value: item }]
        : literalSecrets(item, [...path, index]),
    );
  }
  return Object.entries(value).flatMap(([key, child]) => literalSecrets(child, [...path, key]));
}

export function literalSecretError(use: PluginUse, subject: string, secret: LiteralSecret): GatewayError {
  const key = JSON.stringify(secret.path.findLast((segment) => typeof segment === 'string'));
  const url = URL_WITH_PASSWORD.test(secret.value);
  return new GatewayError(
    'config.literal-secret',
    url
      ? `The URL ${key} in ${subject} holds a password.`
      : `The secret ${key} in ${subject} is written out.`,
    {
      where: use.locate(use.pointer + toPointer(secret.path)),
      why: 'A configuration file gets copied, committed and shown; a secret in it is no secret for long.',
      fix: url
        ? 'Leave user and password out of the URL, and use the keys of the plugin that take a reference.'
        : `Write { "env": "NAME" } or { "file": "path" } instead. Treat the value that stood here as known to others.`,
    },
  );
}

/** The text without any of the secrets, as they are or as JSON quotes them. */
export function withoutSecrets(text: string, secrets: readonly LiteralSecret[]): string {
  const forms = secrets.flatMap(({ value }) => [value, JSON.stringify(value).slice(1, -1)]);
  return forms
    .filter((form) => form !== '')
    .reduce((clean, form) => clean.replaceAll(form, '[secret]'), text);
}
