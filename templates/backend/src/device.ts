import { type FileHandle, open } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type BlockDevice, BlockError, GatewayError, type IoVec, type OpenContext } from 'blockgate/plugin';
import type { Config } from './config.ts';

/** Returns a device that works, or throws and leaves nothing behind. */
export async function openDevice({ path, size }: Config, ctx: OpenContext): Promise<BlockDevice> {
  const name = resolve(ctx.baseDir, path);
  const file = await openFile(name, ctx.readOnly);
  try {
    const { size: there } = await file.stat();
    if (there > size) throw tooLarge(name, there, size);
    if (there < size && !ctx.readOnly) await file.truncate(size);
  } catch (error) {
    await file.close();
    throw error;
  }
  return new FileDevice(file, size);
}

/** A method that is there is something that the disk can do: see "The contract" in the guide. */
class FileDevice implements BlockDevice {
  readonly info;
  readonly #file: FileHandle;

  constructor(file: FileHandle, size: number) {
    this.#file = file;
    // Any number of calls at once: each says where it reads or writes.
    this.info = { size, caps: { concurrency: 'parallel' } } as const;
  }

  /** Fills every segment, or fails. Never zeros for data that is missing. */
  async read(offset: number, iov: IoVec): Promise<void> {
    let at = offset;
    for (const segment of iov) {
      const { bytesRead } = await asBlockError(this.#file.read(segment, 0, segment.length, at));
      if (bytesRead < segment.length) throw new BlockError('EIO', `the file ends at ${at + bytesRead}`);
      at += segment.length;
    }
  }

  async write(offset: number, iov: IoVec): Promise<void> {
    let at = offset;
    for (const segment of iov) {
      for (let done = 0; done < segment.length; ) {
        const write = this.#file.write(segment, done, segment.length - done, at + done);
        done += (await asBlockError(write)).bytesWritten;
      }
      at += segment.length;
    }
  }

  /** Settles when every write that settled before is durable. */
  async flush(): Promise<void> {
    await asBlockError(this.#file.datasync());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

/** What fails while the disk is used is a `BlockError`; anything else counts as a mistake of this plugin. */
async function asBlockError<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new BlockError(code === 'ENOSPC' ? 'ENOSPC' : 'EIO', message, { cause });
  }
}

/** What fails before is read by a person: what, why, and how to mend it. */
async function openFile(name: string, readOnly: boolean): Promise<FileHandle> {
  try {
    if (readOnly) return await open(name, 'r');
    await (await open(name, 'a')).close();
    return await open(name, 'r+');
  } catch (cause) {
    throw new GatewayError('__NAME__.open-failed', `The file ${name} cannot be opened.`, {
      why: (cause as Error).message,
      fix: 'Correct "path", or create the folder that it is in.',
      cause,
    });
  }
}

function tooLarge(name: string, there: number, size: number): GatewayError {
  return new GatewayError('__NAME__.too-large', `The file ${name} is larger than the disk.`, {
    why: `It has ${there} bytes, and "size" is ${size}.`,
    fix: 'Set "size" to the size of the file, or name another file.',
  });
}
