/** A string, closed or not; or a run of characters that JSON would read as one word. */
const TOKEN = /"(?:[^"\\]|\\.)*"?|[^\s{}[\],:"]+/g;
const JSON_WORD = /^(?:true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;

/**
 * The line of a syntax error with a caret below the column, to show a person what the parser saw. Strings that are
 * not keys, and words that are not JSON, are masked: any of them may be a secret.
 */
export function excerpt(text: string, line: number, column: number): string {
  const masked = maskValues(text.split(/\r?\n/)[line - 1] ?? '');
  const number = `${line} | `;
  return `${number}${masked}\n${' '.repeat(number.length + Math.min(column - 1, masked.length))}^`;
}

/** Every masked character becomes `*`, so that columns stay where they are. */
function maskValues(line: string): string {
  return line.replaceAll('\t', ' ').replaceAll(TOKEN, (token, offset: number, whole: string) => {
    const isKey = token.startsWith('"') && /^\s*:/.test(whole.slice(offset + token.length));
    if (isKey || JSON_WORD.test(token)) return token;
    return token.startsWith('"') ? maskString(token) : '*'.repeat(token.length);
  });
}

function maskString(token: string): string {
  const closed = token.length > 1 && token.endsWith('"');
  return `"${'*'.repeat(token.length - (closed ? 2 : 1))}${closed ? '"' : ''}`;
}
