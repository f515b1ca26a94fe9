import koffi from 'koffi';
import { orThrow } from './errno.ts';
import { errno, libc } from './native.ts';

/** A user of this machine, as the name service knows it. */
export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** `struct passwd` of glibc. */
const passwd = koffi.struct({
  pw_name: 'str',
  pw_passwd: 'str',
  pw_uid: 'uint32',
  pw_gid: 'uint32',
  pw_gecos: 'str',
  pw_dir: 'str',
  pw_shell: 'str',
});
const getpwnam = libc.func('getpwnam', koffi.pointer(passwd), ['str']);
const prctl = libc.func('int prctl(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)');
const PR_SET_NO_NEW_PRIVS = 38;

/** Undefined when there is no user of that name. */
export function findUser(name: string): User | undefined {
  // SAFETY: koffi passes a copy of the name that lives for the call.
  const entry: unknown = getpwnam(name);
  if (!entry) return undefined;
  // SAFETY: the entry stays as it is until the next call for one, and is copied here.
  const { pw_uid, pw_gid, pw_dir } = koffi.decode(entry, passwd) as Record<string, unknown>;
  return { name, uid: pw_uid as number, gid: pw_gid as number, home: pw_dir as string };
}

/**
 * Makes this process one of that user's, with the user's groups, for good: no capability is left, and no program it
 * starts gets one. From the main thread only. Throws when the process may not.
 */
export function becomeUser({ name, uid, gid, home }: User): void {
  if (uid === 0) throw new RangeError('root would keep everything');
  // Programs started from here inherit it from this thread; set-user-ID bits mean nothing to them.
  // SAFETY: no pointer.
  orThrow('prctl', (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) as number) < 0 ? -errno() : 0);
  // Node has it; its types have not.
  (process as unknown as { initgroups(user: string, group: number): void }).initgroups(name, gid);
  // Real, effective and saved ids of every thread; with the last uid 0 the kernel clears the capabilities.
  process.setgid!(gid);
  process.setuid!(uid);
  Object.assign(process.env, { HOME: home, USER: name, LOGNAME: name });
}
