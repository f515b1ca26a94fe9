import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GatewayError } from '../../api/errors.ts';

/** How far a copy came, in a file, so that another process can go on. */
export class CopyProgress {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Bytes that are done. `identity`: what both sides are; somebody else's copy is not ours to go on with. Throws
   * `copy.not-resumable`.
   */
  async read(identity: object): Promise<number> {
    const text = await readFile(this.#path, 'utf8').catch(() => undefined);
    if (text === undefined)
      throw notResumable(`There is no ${this.#path}: nothing was interrupted, or it was completed.`);
    const before = parse(text);
    if (before === undefined) throw notResumable(`${this.#path} is damaged.`);
    if (before.identity !== JSON.stringify(identity))
      throw notResumable('Source or target are others than before, or were changed since.');
    return before.done;
  }

  /** Everything before `done` is durable. */
  async write(identity: object, done: number): Promise<void> {
    const text = JSON.stringify({ identity: JSON.stringify(identity), done });
    await writeFile(`${this.#path}.new`, text, { flush: true });
    await rename(`${this.#path}.new`, this.#path);
  }

  /** Nothing can be gone on with any more, also after a power failure: what follows destroys what was done before. */
  async clear(): Promise<void> {
    const folder = dirname(this.#path);
    await mkdir(folder, { recursive: true });
    await rm(this.#path, { force: true });
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

function parse(text: string): { readonly identity: string; readonly done: number } | undefined {
  try {
    return JSON.parse(text) as { identity: string; done: number };
  } catch {
    return undefined;
  }
}

function notResumable(why: string): GatewayError {
  return new GatewayError('copy.not-resumable', 'There is no copy that could be gone on with.', {
    why,
    fix: 'Run the command without --resume.',
  });
}
