import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { atExit } from '../../../../core/vm/at-exit.ts';

const execute = promisify(execFile);

/** What takes longer hangs. Milliseconds. */
const LIMIT = 120_000;

/** Runs a program to its end; returns what it printed. Throws with what it complained of, and when it hangs. */
export async function run(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute(program, args, {
    maxBuffer: 2 ** 26,
    timeout: LIMIT,
    killSignal: 'SIGKILL',
  });
  return stdout.trim();
}

/** A program that serves a disk until its file system is unmounted, or it is told to stop. */
export class Program {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #said = '';

  constructor(command: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#name = command[0]!;
    this.#child = spawn(this.#name, command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      // A group of its own, so that those that it has started can be killed with it.
      detached: true,
    });
    const left = atExit(() => this.#killGroup());
    this.#ended = once(this.#child, 'exit').finally(() => left[Symbol.dispose]());
    this.#ended.catch(() => undefined);
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.on('data', (text: Buffer) => {
        this.#said += text.toString();
      });
  }

  get #isGone(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Settles when there is a file at `path`. */
  made(path: string): Promise<void> {
    return this.#until(async () => (await stat(path).catch(() => undefined)) !== undefined);
  }

  /** Settles when it has printed `text`. */
  said(text: string): Promise<void> {
    return this.#until(() => this.#said.includes(text));
  }

  async #until(isSo: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await isSo())) {
      if (this.#isGone) throw new Error(`${this.#name} ended: ${this.#said}`);
      await delay(10);
    }
  }

  /** Asks it to end. */
  stop(): void {
    this.#child.kill('SIGTERM');
  }

  /** Ends it, and what it has started, at once. */
  async kill(): Promise<void> {
    this.#killGroup();
    await this.#ended;
  }

  #killGroup(): void {
    try {
      process.kill(-this.#child.pid!, 'SIGKILL');
    } catch {
      // Nobody is left.
    }
  }

  /** Settles when it has ended; throws when it did not end well. */
  async end(): Promise<void> {
    const hangs = delay(LIMIT, true, { ref: false });
    if ((await Promise.race([this.#ended, hangs])) === true)
      throw new Error(`${this.#name} does not end: ${this.#said}`);
    if (this.#child.exitCode !== 0) throw new Error(`${this.#name} failed: ${this.#said}`);
  }
}

/** A file system of FUSE that a program of ours serves at `folder`; unmounted at the latest when this process ends. */
export class FuseMount {
  readonly folder: string;
  readonly #left: Disposable;

  constructor(folder: string) {
    this.folder = folder;
    this.#left = atExit(() => spawnSync('umount', ['--lazy', folder]));
  }

  async unmount(): Promise<void> {
    await run('umount', this.folder);
    this.#left[Symbol.dispose]();
  }

  /** What serves it is gone. */
  async abandon(): Promise<void> {
    await run('umount', '--lazy', this.folder);
    this.#left[Symbol.dispose]();
  }
}
