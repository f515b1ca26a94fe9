import { type FileHandle, open, unlink } from 'node:fs/promises';
import { encodeMetadata, type ObjectMetadata } from './object-file.ts';

/** Bytes gathered before they are written: keeps a small object to one system call, and bounds memory. */
const WRITE_BYTES = 512 * 1024;

/**
 * An object on its way in: a temporary file that nobody else sees. `finish()` makes it whole and durable; renaming it
 * to its place is the store's business. Disposing removes the file unless it was moved away with `moved()`.
 */
export class ObjectWriter implements AsyncDisposable {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #fsync: boolean;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #closed = false;
  #moved = false;

  private constructor(path: string, handle: FileHandle, fsync: boolean) {
    this.path = path;
    this.#handle = handle;
    this.#fsync = fsync;
  }

  static async create(path: string, fsync: boolean): Promise<ObjectWriter> {
    return new ObjectWriter(path, await open(path, 'wx', 0o600), fsync);
  }

  /** Takes `data` over; the caller must not change it afterwards. */
  write(data: Buffer): void | Promise<void> {
    this.#pending.push(data);
    this.#pendingBytes += data.length;
    return this.#pendingBytes >= WRITE_BYTES ? this.#flush() : undefined;
  }

  /** Appends the metadata; on return the file is whole and, with fsync, on stable storage. */
  async finish(metadata: ObjectMetadata): Promise<void> {
    this.#pending.push(encodeMetadata(metadata));
    await this.#flush();
    if (this.#fsync) await this.#handle.datasync();
    await this.#close();
  }

  /** The file has been renamed: it is no longer ours to remove. */
  moved(): void {
    this.#moved = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
    if (!this.#moved) await unlink(this.path).catch(ignoreMissing);
  }

  async #flush(): Promise<void> {
    let pieces = this.#pending.filter((piece) => piece.length > 0);
    this.#pending = [];
    this.#pendingBytes = 0;
    while (pieces.length > 0) {
      const { bytesWritten } = await this.#handle.writev(pieces);
      pieces = dropWritten(pieces, bytesWritten);
    }
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }
}

/** writev may write less than it was given. */
function dropWritten(pieces: Buffer[], written: number): Buffer[] {
  let left = written;
  let index = 0;
  while (index < pieces.length && left >= pieces[index]!.length) left -= pieces[index++]!.length;
  const rest = pieces.slice(index);
  if (left > 0) rest[0] = rest[0]!.subarray(left);
  return rest;
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
