import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

/** errno number → name and sentence, from libuv's table. */
const table = getSystemErrorMap();
/** Names of those that libuv does not know, EDQUOT among them. */
const others = new Map(Object.entries(constants.errno).map(([name, errno]) => [errno, name]));

/** errno numbers by name, for comparing results. */
export const Errno = constants.errno;

export function errnoName(errno: number): string {
  return table.get(-errno)?.[0] ?? others.get(errno) ?? `errno ${errno}`;
}

export function errnoMessage(errno: number): string {
  return table.get(-errno)?.[1] ?? `unknown error ${errno}`;
}

/** A system call failed. `code` is the errno's name, as in Node's own errors. */
export class SystemError extends Error {
  readonly syscall: string;
  readonly errno: number;
  readonly code: string;

  constructor(syscall: string, errno: number) {
    super(`${syscall}: ${errnoName(errno)}, ${errnoMessage(errno)}`);
    this.name = 'SystemError';
    this.syscall = syscall;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/** Passes on the result of a call that reports failure as minus the errno, or throws `SystemError`. */
export function orThrow(syscall: string, result: number): number {
  if (result < 0) throw new SystemError(syscall, -result);
  return result;
}
