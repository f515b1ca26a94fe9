import { readdir, readFile, stat } from 'node:fs/promises';
import { sleep } from '../util/backoff.ts';
import { Errno, SystemError } from './errno.ts';
import { addressOf } from './memory-map.ts';
import { errno, libc } from './native.ts';

/**
 * Open file description locks, fcntl(2): advisory, for the whole file, gone when its descriptor is closed or its
 * process dies. QEMU takes the same kind on its images, so the two keep out of each other's files.
 */

const fcntl = libc.func('int fcntl(int fd, int command, int64_t argument)');
/** linux/fcntl.h */
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;

/** Who holds a lock on a file. */
export interface LockHolder {
  readonly pid: number;
  /** Its command line, cut to a readable length. */
  readonly command: string;
}

/** A process that was killed in the middle of its I/O keeps its lock until the kernel has ended that. Milliseconds. */
const DEAD_LOCK_MS = 2_000;
const RETRY_MS = 20;

/**
 * Takes the lock on the file at `path`, which is open as `fd`. Returns undefined, or who has it: nobody in particular when
 * that cannot be found out. A lock that nobody alive has is waited for. Throws `SystemError`: no locks here.
 */
export async function lockFile(
  fd: number,
  path: string,
  mode: 'shared' | 'exclusive',
  signal?: AbortSignal,
): Promise<readonly LockHolder[] | undefined> {
  for (let waited = 0; !tryLockFile(fd, mode); waited += RETRY_MS) {
    const holders = await findLockHolders(path);
    if (holders.length > 0 || waited >= DEAD_LOCK_MS) return holders;
    await sleep(RETRY_MS, signal);
  }
  return undefined;
}

/** Takes the lock, or returns false when somebody else's is in the way. Throws `SystemError`: no locks here. */
export function tryLockFile(fd: number, mode: 'shared' | 'exclusive'): boolean {
  // struct flock: i16 type, i16 whence, i64 start at 8, i64 length at 16 (0 is all of it), i32 pid at 24 (must be 0).
  const flock = new Uint8Array(32);
  new DataView(flock.buffer).setInt16(0, mode === 'shared' ? F_RDLCK : F_WRLCK, true);
  // SAFETY: the kernel reads 32 bytes at `flock` within the call.
  if ((fcntl(fd, F_OFD_SETLK, addressOf(flock)) as number) === 0) return true;
  const failure = errno();
  if (failure === Errno.EAGAIN || failure === Errno.EACCES) return false;
  throw new SystemError('fcntl(F_OFD_SETLK)', failure);
}

/**
 * Processes with a lock on the file that `path` names. The kernel does not say whose these locks are, but it lists
 * them per descriptor under /proc. Without the right to look into other users' processes, those are missing.
 */
export async function findLockHolders(path: string): Promise<LockHolder[]> {
  const target = await stat(path);
  const holders: LockHolder[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    if (!(await holdsLock(pid, target))) continue;
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const words = command.replaceAll('\0', ' ').trim() || '?';
    holders.push({ pid: Number(pid), command: words.length > 60 ? `${words.slice(0, 60)}…` : words });
  }
  return holders;
}

async function holdsLock(pid: string, target: { dev: number; ino: number }): Promise<boolean> {
  // A process or a descriptor that is gone meanwhile holds nothing; one we may not look into stays unknown.
  const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
  for (const fd of descriptors) {
    const file = await stat(`/proc/${pid}/fd/${fd}`).catch(() => undefined);
    if (file?.ino !== target.ino || file.dev !== target.dev) continue;
    const facts = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
    if (/^lock:/m.test(facts)) return true;
  }
  return false;
}
