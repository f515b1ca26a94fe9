/** The errors inside a `SuppressedError` chain, in the order in which they happened. */
export function errorsOf(error: unknown): unknown[] {
  // A disposable stack reports the newest error with everything before it in `suppressed`.
  return error instanceof SuppressedError
    ? [...errorsOf(error.suppressed), ...errorsOf(error.error)]
    : [error];
}

/** An error's message as a sentence of its own. */
export function sentence(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).trim();
  const text = message === '' ? 'Unknown error' : message[0]!.toUpperCase() + message.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
