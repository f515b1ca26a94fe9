import type { ServerResponse } from 'node:http';
import { type FileBody, readPieces, type S3Response } from './operation.ts';

/** Writes a response out and returns the bytes of body sent; cuts the connection after `cutBodyAt` of them. */
export async function sendResponse(
  response: ServerResponse,
  { status, headers, body }: S3Response,
  cutBodyAt = Number.POSITIVE_INFINITY,
): Promise<number> {
  if (typeof body === 'object') {
    response.writeHead(status, headers);
    return sendFile(response, body, cutBodyAt);
  }
  if (body === undefined) {
    response.writeHead(status, headers).end();
    return 0;
  }
  const document = Buffer.from(body);
  response.writeHead(status, {
    ...headers,
    'content-type': 'application/xml',
    'content-length': document.length,
  });
  response.end(document);
  return document.length;
}

async function sendFile(response: ServerResponse, body: FileBody, cutBodyAt: number): Promise<number> {
  let sent = 0;
  for await (const piece of readPieces(body.handle, body)) {
    const part = piece.subarray(0, cutBodyAt - sent);
    sent += part.length;
    const flowing = response.write(part);
    if (sent >= cutBodyAt) response.destroy();
    else if (!flowing) await drained(response);
    if (response.destroyed) return sent;
  }
  response.end();
  return sent;
}

/** Resolves when the client has taken what was written, or is gone. */
function drained(response: ServerResponse): Promise<void> {
  // It says so only once, and that may have been before.
  if (response.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}
