/** An error as text for a terminal, without colours. An `AggregateError` renders as its errors, one after the other. */
export function renderError(_error: unknown): string {
  throw new Error('not written yet');
}
