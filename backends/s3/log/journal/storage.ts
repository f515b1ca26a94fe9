import { type FileHandle, open } from 'node:fs/promises';
import { blockGeometry, formatSize, lockFile } from '../../../../core/plugin.ts';
import { journalUnusable } from './errors.ts';

/** What a journal lies on. Positions and lengths are multiples of 4096. */
export interface JournalStorage {
  /** For messages. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  read(at: number, length: number): Promise<Buffer>;
  write(at: number, pieces: readonly Buffer[]): Promise<void>;
  /** Settles when everything that was written is on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

const ZEROS = 4 * 2 ** 20;

/**
 * A file of `size` bytes, or more if it is larger already, which is made when there is none; or a block device, of which
 * `size` bytes are used. It is ours until it is closed. Throws `volume.journal-unusable`.
 */
export async function openStorage(path: string, size: number): Promise<JournalStorage> {
  let handle: FileHandle;
  try {
    // 'a+' would append; 'r+' wants the file to be there.
    handle = await open(path, 'r+').catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return await open(path, 'wx+', 0o600);
    });
  } catch (error) {
    throw journalUnusable(path, (error as Error).message, error);
  }
  try {
    if ((await lockFile(handle.fd, path, 'exclusive')) !== undefined)
      throw new Error('another process has it open');
    const bytes = await prepare(handle, path, size);
    return new FileStorage(handle, path, bytes);
  } catch (error) {
    await handle.close();
    throw journalUnusable(path, (error as Error).message, error);
  }
}

/** Room on the disk for all of it: a journal that is full is no journal. */
async function prepare(handle: FileHandle, path: string, size: number): Promise<number> {
  const stats = await handle.stat();
  if (stats.isBlockDevice()) {
    const there = (await blockGeometry(handle.fd, stats.rdev)).size;
    if (there < size)
      throw new Error(`${path} has ${formatSize(there)}, and ${formatSize(size)} are asked for`);
    return size;
  }
  if (!stats.isFile()) throw new Error('it is neither a file nor a block device');
  if (stats.size >= size) return stats.size;
  const zeros = Buffer.alloc(ZEROS);
  for (let at = stats.size; at < size; at += ZEROS)
    await handle.write(zeros, 0, Math.min(ZEROS, size - at), at);
  await handle.sync();
  return size;
}

class FileStorage implements JournalStorage {
  readonly #handle: FileHandle;
  readonly path: string;
  readonly size: number;

  constructor(handle: FileHandle, path: string, size: number) {
    this.#handle = handle;
    this.path = path;
    this.size = size;
  }

  async read(at: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, at + done);
      if (bytesRead === 0) throw new Error(`${this.path} ends before byte ${at + length}`);
      done += bytesRead;
    }
    return bytes;
  }

  async write(at: number, pieces: readonly Buffer[]): Promise<void> {
    let rest = [...pieces];
    for (let position = at; rest.length > 0; ) {
      const { bytesWritten } = await this.#handle.writev(rest.slice(0, MAX_PIECES), position);
      if (bytesWritten === 0) throw new Error(`${this.path}: nothing could be written`);
      position += bytesWritten;
      rest = behind(rest, bytesWritten);
    }
  }

  sync(): Promise<void> {
    return this.#handle.datasync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** IOV_MAX. */
const MAX_PIECES = 1024;

/** What is left of `pieces` without their first `bytes` bytes. */
function behind(pieces: readonly Buffer[], bytes: number): Buffer[] {
  let skip = bytes;
  let first = 0;
  while (first < pieces.length && skip >= pieces[first]!.length) skip -= pieces[first++]!.length;
  const rest = pieces.slice(first);
  if (skip > 0) rest[0] = rest[0]!.subarray(skip);
  return rest;
}
