import { type FileHandle, open } from 'node:fs/promises';
import { GatewayError } from '../api/errors.ts';
import { lockFile } from '../system/file-lock.ts';

/**
 * Opens a file of a filter's own for reading and writing, created when it is missing, and locks it. `what` names it in
 * messages. Throws `filter.file` or `filter.file-in-use`.
 */
export async function openPrivateFile(path: string, what: string): Promise<FileHandle> {
  let handle: FileHandle;
  try {
    // Created when missing, never emptied.
    await (await open(path, 'a')).close();
    handle = await open(path, 'r+');
  } catch (cause) {
    throw new GatewayError('filter.file', `The ${what} ${path} cannot be opened.`, {
      why: (cause as Error).message,
      fix: 'Correct "file" of the filter; its folder has to exist.',
      cause,
    });
  }
  // Where the file system has no locks, nobody can be told apart.
  const holders = await lockFile(handle.fd, path, 'exclusive').catch(() => undefined);
  if (holders === undefined) return handle;
  await handle.close();
  const who = holders.map(({ pid, command }) => `process ${pid} (${command})`).join(', ');
  throw new GatewayError(
    'filter.file-in-use',
    `The ${what} ${path} is in use by ${who || 'another process'}.`,
    {
      why: 'Two disks with one file would destroy the data of both.',
      fix: 'Give each disk a file of its own, or stop the other one.',
    },
  );
}
