import { type ErrorLocation, GatewayError } from '../api/errors.ts';

/**
 * An error as text for a terminal, without colours: what happened, where, why, how to fix it, its code, and what
 * caused it. An `AggregateError` renders as its errors, one after the other. Anything that is not a `GatewayError` is
 * a bug, and shows its stack.
 */
export function renderError(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0)
    return error.errors.map(renderError).join('\n\n');
  if (!GatewayError.is(error)) return renderBug(error);
  const lines = [`✖ ${error.message}`];
  if (error.where) lines.push(field('Where', renderLocation(error.where)));
  if (error.why) lines.push(field('Why', error.why));
  if (error.fix) lines.push(field('Fix', error.fix));
  lines.push(field('Code', error.code));
  lines.push(...causes(error).map((cause) => field('Cause', cause)));
  return lines.join('\n');
}

/** `plugins.json:9:16  (/disks/disk0/backend/type)` */
export function renderLocation({ file, line, column, pointer }: ErrorLocation): string {
  const position = [file, line, column].filter((part) => part !== undefined).join(':');
  return pointer ? `${position}  (${pointer})` : position;
}

/** `  Why    first line`, with further lines below the first. */
function field(label: string, text: string): string {
  return `  ${label.padEnd(7)}${text.replaceAll('\n', `\n${' '.repeat(9)}`)}`;
}

/** The messages below an error that it does not itself repeat, outermost first. */
function causes(error: GatewayError): string[] {
  const said = [error.message, error.why ?? ''];
  const messages: string[] = [];
  let cause = error.cause;
  for (let depth = 0; cause !== undefined && cause !== null && depth < 8; depth++) {
    const message = messageOf(cause);
    if (!said.some((text) => text.includes(message))) messages.push(message);
    said.push(message);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return messages;
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message === '' ? error.name : error.message;
}

function renderBug(error: unknown): string {
  const lines = [`✖ Unexpected error: ${messageOf(error)}`];
  lines.push(
    field('Why', 'This is a bug in blockgate or in one of its plugins. Please report it with this text.'),
  );
  if (error instanceof Error && error.stack) lines.push(field('Stack', error.stack));
  return lines.join('\n');
}
