import { execFile } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { GatewayError } from '../api/errors.ts';
import type { User } from '../system/user.ts';

/**
 * Runs as the user, with all groups of that user, and prints the first of its arguments that cannot be opened for reading, or
 * of the folders above it the first that cannot be entered.
 */
const TRY = `
  const { accessSync, constants } = require('node:fs');
  const { dirname } = require('node:path');
  const [name, uid, gid, ...paths] = process.argv.slice(1);
  process.initgroups(name, Number(gid));
  process.setgid(Number(gid));
  process.setuid(Number(uid));
  const opens = (path, mode) => { try { accessSync(path, mode); return true; } catch { return false; } };
  const above = (path) => (path === dirname(path) ? [] : [...above(dirname(path)), dirname(path)]);
  for (const path of paths)
    for (const [one, mode] of [...above(path).map((folder) => [folder, constants.X_OK]), [path, constants.R_OK]])
      if (!opens(one, mode)) { process.stdout.write(one); process.exit(); }
`;

/** What the process of a disk loads when it is that user's already: the program itself, and what it depends on. */
function program(): string[] {
  const here = fileURLToPath(import.meta.url);
  const dependency = fileURLToPath(import.meta.resolve('koffi'));
  return [here, dependency, process.execPath].map((path) => realpathSync(path));
}

/** The first of these paths, or of the folders above them, that the user may not open; undefined where there is none. */
export async function closedTo(
  { name, uid, gid }: User,
  paths: readonly string[],
): Promise<string | undefined> {
  const args = ['-e', TRY, name, String(uid), String(gid), ...paths];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: '/' });
  return stdout === '' ? undefined : stdout;
}

/** Throws `cli.user-without-access` for a user who may not read this program. Only root can tell. */
export async function checkAccess(user: User, paths: readonly string[] = program()): Promise<void> {
  const closed = await closedTo(user, paths);
  if (closed === undefined) return;
  throw new GatewayError('cli.user-without-access', `The user "${user.name}" cannot read blockgate.`, {
    why: `It lies at ${dirname(paths[0]!)}, and ${closed} is closed to that user.`,
    fix: `Install blockgate where everybody may read it, such as below /opt, or let "${user.name}" enter ${closed}.`,
  });
}
