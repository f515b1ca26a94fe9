import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atExit } from './at-exit.ts';
import { exists } from './cache-folder.ts';

const PREFIX = 'blockgate-vm-';

/**
 * The temporary folder of one VM on the host: sockets, console log, scratch disks, and in `host/` what the guest sees as
 * /run/vm/host. Removed on disposal, when this process exits, or, if it was killed, by the next VM that starts.
 */
export class SessionFolder implements AsyncDisposable {
  readonly path: string;
  readonly #removeAtExit: Disposable;

  private constructor(path: string) {
    this.path = path;
    this.#removeAtExit = atExit(() => rmSync(path, { recursive: true, force: true }));
  }

  static async create(): Promise<SessionFolder> {
    await removeAbandoned();
    // The name tells whose it is: mkdtemp adds six characters after the process id.
    const folder = new SessionFolder(await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`)));
    await mkdir(join(folder.path, 'host', 'runs'), { recursive: true });
    await mkdir(join(folder.path, 'results'));
    return folder;
  }

  file(...names: string[]): string {
    return join(this.path, ...names);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true, maxRetries: 3 });
    this.#removeAtExit[Symbol.dispose]();
  }
}

/** Folders of processes that are gone: they were killed before they could clean up. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid && !(await exists(`/proc/${pid}`)))
      await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
}
