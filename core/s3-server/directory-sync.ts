import { type FileHandle, open } from 'node:fs/promises';

/**
 * Makes renames and unlinks in one folder durable. Callers that come while an fsync runs share the next one, so that
 * many commits cost few flushes.
 */
export class DirectorySync implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly #enabled: boolean;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  private constructor(handle: FileHandle, enabled: boolean) {
    this.#handle = handle;
    this.#enabled = enabled;
  }

  /** `enabled: false` makes every `sync` return at once. */
  static async open(path: string, enabled: boolean): Promise<DirectorySync> {
    return new DirectorySync(await open(path, 'r'), enabled);
  }

  /** Resolves once every change made to the folder before this call is on stable storage. */
  sync(): Promise<void> {
    if (!this.#enabled) return Promise.resolve();
    if (!this.#running) return this.#start();
    // The running fsync may have begun before the caller's change.
    this.#next ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#next?.catch(() => {});
    await this.#running?.catch(() => {});
    await this.#handle.close();
  }

  #start(): Promise<void> {
    this.#next = undefined;
    const running = this.#handle.sync().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}

/** One fsync of a folder that is changed too rarely to keep it open. */
export async function syncDirectory(path: string, enabled: boolean): Promise<void> {
  await using directory = await DirectorySync.open(path, enabled);
  await directory.sync();
}
