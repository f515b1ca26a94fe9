import { homedir } from 'node:os';
import { join } from 'node:path';
import type { LogLevel } from '../observe/log-level.ts';
import type { User } from '../system/user.ts';
import type { LaunchSettings } from './running-disk.ts';

/** What the command line, or a program that embeds the gateway, decides; plugins.json decides the rest. */
export interface Settings extends LaunchSettings {
  /** Path of plugins.json. */
  readonly configFile: string;
  /** `path=value` pairs that win over the file. */
  readonly overrides: readonly string[];
  /** Run disks in this process instead of one each. */
  readonly inProcess: boolean;
  /** Whom the disks' processes become before they serve. Undefined: whoever runs the gateway. */
  readonly user?: User | undefined;
  /** A disk's process that has not answered for so long is killed. Milliseconds; undefined: none is. */
  readonly hangMs?: number | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: 'json' | 'text';
  /** Receives whole lines of the log. */
  readonly writeLog: (line: string) => void;
}

export const DEFAULT_GRACE_MS = 30_000;

/** Where disks keep what has to survive a restart: /var/lib for root, else the user's own state folder. */
export function defaultStateDir(env: NodeJS.ProcessEnv = process.env, uid = process.getuid?.()): string {
  if (uid === 0) return '/var/lib/blockgate';
  return join(env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'blockgate');
}
