import { createHash } from 'node:crypto';

/** File names end at 255 bytes; what is longer than this is cut and made unique by a hash. */
const MAX_ESCAPED = 180;

/**
 * The file name of a key: readable, unique, flat. Everything but letters, digits, `-`, `_` and inner dots is
 * percent-encoded, so that `a` and `a/b` can both exist and `..` names nothing. Long keys keep their beginning, then
 * `~` (which escaping never yields) and the SHA-256 of the key.
 */
export function keyToFileName(key: string): string {
  let escaped = '';
  for (const byte of Buffer.from(key)) {
    const char = String.fromCharCode(byte);
    const plain = /[A-Za-z0-9_-]/.test(char) || (char === '.' && escaped !== '');
    escaped += plain ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    if (escaped.length > MAX_ESCAPED) {
      return `${escaped.slice(0, 120)}~${createHash('sha256').update(key).digest('hex')}`;
    }
  }
  return escaped;
}
