import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { GatewayError } from '../../api/errors.ts';

/** How far a copy came, in a file, so that another process can go on. */
export class CopyProgress {
  readonly #path: string;
  /** What both sides were: someone else's copy is not ours to continue. */
  readonly #identity: string;

  constructor(path: string, identity: object) {
    this.#path = path;
    this.#identity = JSON.stringify(identity);
  }

  /** Bytes that are done. Throws `copy.not-resumable` when nothing was begun, or with something else. */
  async read(): Promise<number> {
    const text = await readFile(this.#path, 'utf8').catch(() => undefined);
    if (text === undefined)
      throw notResumable(`There is no ${this.#path}: nothing was interrupted, or it was completed.`);
    const { identity, done } = JSON.parse(text) as { identity: string; done: number };
    if (identity !== this.#identity)
      throw notResumable('Source or target are others than before, or were changed since.');
    return done;
  }

  /** Everything before `done` is durable. */
  async write(done: number): Promise<void> {
    await writeFile(`${this.#path}.new`, JSON.stringify({ identity: this.#identity, done }), { flush: true });
    await rename(`${this.#path}.new`, this.#path);
  }

  async clear(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

function notResumable(why: string): GatewayError {
  return new GatewayError('copy.not-resumable', 'There is no copy that could be gone on with.', {
    why,
    fix: 'Run the command without --resume.',
  });
}
