import type { FileHandle } from 'node:fs/promises';
import type { BodyReader } from './body.ts';
import type { ObjectStore } from './object-store.ts';
import type { ByteRange } from './range.ts';
import type { S3Request } from './request.ts';

/** What an operation works with: an authenticated request, its body still unread. */
export interface OperationContext {
  readonly request: S3Request;
  readonly body: BodyReader;
  readonly store: ObjectStore;
  readonly region: string;
}

/** Part of an open object file as a response body; whoever sends it closes the handle. */
export interface FileBody extends ByteRange {
  readonly handle: FileHandle;
}

export interface S3Response {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** An XML document, or bytes of an object. */
  readonly body?: string | FileBody;
}

export type Operation = (context: OperationContext) => Promise<S3Response>;

/** Bytes read from a file at once while it is sent or copied. */
const READ_BYTES = 512 * 1024;

/** The bytes of a range in order, each piece a buffer of its own. Fails if the file is shorter. */
export async function* readPieces(handle: FileHandle, range: ByteRange): AsyncGenerator<Buffer> {
  let at = range.start;
  const end = range.start + range.length;
  while (at < end) {
    const length = Math.min(READ_BYTES, end - at);
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, at);
    if (bytesRead === 0) throw new Error('an object file is shorter than its metadata says');
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
