/**
 * A store that does as little as a store can: objects in memory, conditions, ranges, and a latency for every request. It
 * checks no signature and no checksum, so that what is measured is the disk and not the server.
 * `store-main.ts <milliseconds>`; prints its address.
 */

import { createServer, type Socket } from 'node:net';

interface Stored {
  readonly body: Buffer;
  readonly etag: string;
  readonly metadata: readonly string[];
}

interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

const latency = Number(process.argv[2]);
const objects = new Map<string, Stored>();
let etags = 0;

const server = createServer({ noDelay: true }, (socket) => serve(socket));
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as { port: number }).port}\n`);
});

/** One request after the other on a connection: nobody pipelines. */
function serve(socket: Socket): void {
  let head: Buffer = Buffer.alloc(0);
  let pending: { request: Omit<Request, 'body'>; body: Buffer; filled: number } | undefined;
  const done = (): void => {
    const { request, body } = pending!;
    pending = undefined;
    const arrived = performance.now();
    const reply = (): unknown => answer(socket, { ...request, body });
    const left = latency - (performance.now() - arrived);
    if (left > 0) setTimeout(reply, left);
    else reply();
  };
  socket.on('error', () => socket.destroy());
  socket.on('data', (bytes: Buffer) => {
    let rest = bytes;
    if (pending === undefined) {
      head = head.length === 0 ? bytes : Buffer.concat([head, bytes]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      const [first, ...lines] = head.toString('latin1', 0, end).split('\r\n');
      const [method, path] = first!.split(' ') as [string, string];
      const headers = new Map(
        lines.map((line) => {
          const colon = line.indexOf(':');
          return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
        }),
      );
      const length = Number(headers.get('content-length') ?? 0);
      if (headers.get('expect') === '100-continue') socket.write('HTTP/1.1 100 Continue\r\n\r\n');
      pending = { request: { method, path, headers }, body: Buffer.allocUnsafeSlow(length), filled: 0 };
      rest = head.subarray(end + 4);
      head = Buffer.alloc(0);
    }
    pending.filled += rest.copy(pending.body, pending.filled);
    if (pending.filled === pending.body.length) done();
  });
}

function answer(socket: Socket, { method, path, headers, body }: Request): unknown {
  const [name, query] = path.split('?') as [string, string | undefined];
  const key = decodeURIComponent(name);
  const there = objects.get(key);
  const send = (status: string, fields: readonly string[], content: Buffer = Buffer.alloc(0)): void => {
    socket.cork();
    socket.write(
      `HTTP/1.1 ${status}\r\n${fields.map((line) => `${line}\r\n`).join('')}content-length: ${content.length}\r\n\r\n`,
    );
    if (content.length > 0) socket.write(content);
    socket.uncork();
  };
  const refuse = (status: string, code: string): void =>
    send(status, [], Buffer.from(`<Error><Code>${code}</Code><Message>${code}</Message></Error>`));
  if (method === 'PUT') {
    const ifMatch = headers.get('if-match');
    const holds =
      (headers.get('if-none-match') !== '*' || there === undefined) &&
      (ifMatch === undefined || ifMatch === there?.etag);
    if (!holds) return refuse('412 Precondition Failed', 'PreconditionFailed');
    const etag = `"${(++etags).toString(16).padStart(32, '0')}"`;
    const metadata = [...headers].filter(([field]) => field.startsWith('x-amz-meta-'));
    objects.set(key, { body, etag, metadata: metadata.map(([field, value]) => `${field}: ${value}`) });
    return send('200 OK', [`etag: ${etag}`]);
  }
  if (method === 'POST' && query?.startsWith('delete')) {
    for (const [, found] of body.toString().matchAll(/<Key>([^<]*)<\/Key>/g))
      objects.delete(`${key}${found}`);
    return send('200 OK', ['content-type: application/xml'], Buffer.from('<DeleteResult></DeleteResult>'));
  }
  if (there === undefined) return refuse('404 Not Found', 'NoSuchKey');
  const range = /^bytes=(\d+)-(\d+)$/.exec(headers.get('range') ?? '');
  const fields = [`etag: ${there.etag}`, ...there.metadata];
  if (range === null) return send('200 OK', fields, there.body);
  const [from, to] = [Number(range[1]), Math.min(Number(range[2]), there.body.length - 1)];
  if (from >= there.body.length) return refuse('416 Range Not Satisfiable', 'InvalidRange');
  fields.push(`content-range: bytes ${from}-${to}/${there.body.length}`);
  return send('206 Partial Content', fields, there.body.subarray(from, to + 1));
}
