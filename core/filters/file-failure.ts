import { BlockError } from '../api/errors.ts';

/** An error of a filter's file is one of the disk. `what` names the file. */
export async function asBlockError<T>(what: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (cause) {
    if (BlockError.is(cause)) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    const isFull = code === 'ENOSPC' || code === 'EDQUOT';
    throw new BlockError(isFull ? 'ENOSPC' : 'EIO', `${what}: ${message}`, { cause });
  }
}
