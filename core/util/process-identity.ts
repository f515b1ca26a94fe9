import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Enough about a process to tell later, on the same machine, whether it still runs. */
export interface ProcessIdentity {
  readonly host: string;
  readonly pid: number;
  /** Of the running kernel; new with every boot. Empty where there is none. */
  readonly bootId: string;
  /** The PID namespace in which `pid` counts. */
  readonly pidNamespace: string;
  /** Clock ticks after boot at which the process started: tells it from a later one with its number. */
  readonly startTime: string;
}

export function ownIdentity(): ProcessIdentity {
  return {
    host: hostname(),
    pid: process.pid,
    bootId: attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()) ?? '',
    pidNamespace: attempt(() => readlinkSync('/proc/self/ns/pid')) ?? '',
    startTime: startTimeOf(process.pid) ?? '',
  };
}

/**
 * True only when it is certain that the process is gone: it ran under this very kernel and in our PID namespace, and
 * its number is free or another process's now. A process elsewhere is never known to be dead.
 */
export function isCertainlyDead(other: ProcessIdentity): boolean {
  const own = ownIdentity();
  if (own.bootId === '' || own.pidNamespace === '' || other.startTime === '') return false;
  if (other.bootId !== own.bootId || other.pidNamespace !== own.pidNamespace) return false;
  return startTimeOf(other.pid) !== other.startTime;
}

/** Field 22 of /proc/PID/stat (proc(5)); undefined when there is no such process, or it is only a zombie. */
function startTimeOf(pid: number): string | undefined {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  // The second field is the command in parentheses and may contain anything, so count from its end.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
