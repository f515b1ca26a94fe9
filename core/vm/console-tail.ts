const TAIL_LINES = 40;

/** How the kernel announces that it has had enough. */
const LAST_TROUBLE = /Kernel panic|BUG:|Oops:/;

/**
 * The end of a console's text, for an error message: the last lines, and before them the line that says what the
 * matter is, which the kernel prints ahead of a call trace of any length.
 */
export function lastWords(text: string): string {
  const lines = text.replaceAll('\r', '').trim().split('\n');
  const tail = lines.slice(-TAIL_LINES);
  const trouble = lines.slice(0, -TAIL_LINES).findLast((line) => LAST_TROUBLE.test(line));
  return (trouble === undefined ? tail : [trouble, '…', ...tail]).join('\n');
}
