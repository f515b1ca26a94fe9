import type { Readable } from 'node:stream';

/** Far more than the longest call or reply needs, and little enough to keep. Characters. */
const MAX_LINE = 2 ** 20;

/**
 * Parses a line of JSON at a time until the stream ends. Throws when a line is no JSON, or longer than is reasonable:
 * whoever writes such lines is not to be talked to.
 */
export async function* jsonLines(stream: Readable, maxLine = MAX_LINE): AsyncGenerator<unknown> {
  let rest = '';
  stream.setEncoding('utf8');
  for await (const text of stream as AsyncIterable<string>) {
    const lines = `${rest}${text}`.split('\n');
    rest = lines.pop()!;
    if (rest.length > maxLine) throw new Error(`a line of more than ${maxLine} characters`);
    for (const line of lines) yield JSON.parse(line);
  }
}
