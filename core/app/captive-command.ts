import { type ChildProcess, spawn } from 'node:child_process';
import { GatewayError } from '../api/errors.ts';
import { sentence } from './failures.ts';
import type { DiskDetails } from './running-disk.ts';

/** How a command ended. */
export interface CommandEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A command of the user's that runs while disks are served. */
export class CaptiveCommand {
  readonly ended: Promise<CommandEnd>;
  readonly #child: ChildProcess;

  /** The command finds the disks in `$BLOCKGATE_DEVICE` and `$BLOCKGATE_DEVICES`. */
  constructor(command: readonly string[], disks: readonly DiskDetails[]) {
    const [file, ...args] = command as [string, ...string[]];
    const paths = disks.map((disk) => disk.path);
    const env = { ...process.env, BLOCKGATE_DEVICE: paths[0], BLOCKGATE_DEVICES: paths.join(' ') };
    this.#child = spawn(file, args, { stdio: 'inherit', env });
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', (cause) => reject(cannotRun(file, cause)));
      this.#child.once('exit', (status, signal) => resolve({ status, signal }));
    });
  }

  /** A Ctrl-C in a terminal reaches the command by itself; every other signal is passed on. */
  forward(signal: NodeJS.Signals): void {
    if (signal === 'SIGINT' && process.stdin.isTTY) return;
    this.#child.kill(signal);
  }
}

function cannotRun(file: string, cause: Error): GatewayError {
  return new GatewayError('cli.command-not-run', `The command "${file}" cannot be run.`, {
    why: sentence(cause),
    fix: 'Check its name, and that it may be executed.',
    cause,
  });
}
