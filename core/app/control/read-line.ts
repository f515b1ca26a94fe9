import type { Socket } from 'node:net';

/**
 * The first line that arrives, without its end; undefined when the other side ends before that. Throws RangeError when
 * it is longer than `maxBytes`, and what the socket fails with.
 */
export function readLine(socket: Socket, maxBytes: number): Promise<string | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  const parts: Buffer[] = [];
  let bytes = 0;
  socket.on('data', (data: Buffer) => {
    const end = data.indexOf(0x0a);
    const part = end < 0 ? data : data.subarray(0, end);
    bytes += part.length;
    if (bytes > maxBytes) return reject(new RangeError(`a line of more than ${maxBytes} bytes`));
    parts.push(part);
    if (end >= 0) resolve(Buffer.concat(parts).toString('utf8'));
  });
  socket.once('end', () => resolve(undefined));
  socket.on('error', reject);
  socket.once('close', () => resolve(undefined));
  return promise;
}
