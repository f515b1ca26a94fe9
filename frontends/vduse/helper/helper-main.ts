/**
 * Does what takes root for the VDUSE device of one disk, on behalf of a process that is not root:
 *
 *   node helper-main.ts DISK UID GID
 *
 * Reads a `Request` a line on stdin, writes a `Reply` a line on stdout (`protocol.ts`), and ends with its stdin: at
 * the latest when the disk's process ends. An attached device stays for whoever serves the disk next.
 */
import { localAdmin } from '../frontend-host.ts';
import { serveAdmin } from './helper-server.ts';

const [disk = '', uid = '', gid = ''] = process.argv.slice(2);
if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(disk) || !/^[1-9]\d*$/.test(uid) || !/^\d+$/.test(gid)) {
  process.stderr.write('usage: helper-main DISK UID GID\n');
  process.exit(2);
}
process.title = `blockgate-helper ${disk}`;
// A Ctrl-C in a terminal reaches every process of the group; the disk's process says when this is over.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
// The disk's process may be gone before it has heard the answer.
process.stdout.on('error', () => {});

try {
  using admin = localAdmin(disk, { uid: Number(uid), gid: Number(gid) });
  await serveAdmin(admin, process.stdin, process.stdout);
  process.exit(0);
} catch (error) {
  process.stderr.write(`blockgate-helper of disk ${disk}: ${(error as Error).message}\n`);
  process.exit(1);
}
