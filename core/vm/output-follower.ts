import { type FileHandle, open } from 'node:fs/promises';
import { LineSplitter } from './line-splitter.ts';

/**
 * Reads a file that the guest appends a script's output to, up to the mark that its agent puts after the script's
 * last byte. What comes after the mark was written by processes that the script left behind.
 */
export class OutputFollower implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #mark: Buffer;
  readonly #lines: LineSplitter;
  readonly #kept: Buffer[] = [];
  readonly #chunk = Buffer.alloc(65_536);
  #position = 0;
  /** Read but not handed out yet, since it may be the beginning of the mark. */
  #held: Buffer = Buffer.alloc(0);
  #complete = false;

  private constructor(file: FileHandle, token: string, onLine: (line: string) => void) {
    this.#file = file;
    this.#mark = Buffer.from(`\0${token}\0`);
    this.#lines = new LineSplitter(onLine);
  }

  static async open(path: string, token: string, onLine: (line: string) => void): Promise<OutputFollower> {
    return new OutputFollower(await open(path, 'r'), token, onLine);
  }

  /** True once the mark was read: nothing more of the script's own will come. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Everything read so far, without the mark. */
  get text(): string {
    return Buffer.concat(this.#kept).toString('utf8');
  }

  /** Reads what has arrived since the last call. */
  async read(): Promise<void> {
    while (!this.#complete) {
      const { bytesRead } = await this.#file.read(this.#chunk, 0, this.#chunk.length, this.#position);
      if (bytesRead === 0) return;
      this.#position += bytesRead;
      this.#take(Buffer.concat([this.#held, this.#chunk.subarray(0, bytesRead)]));
    }
  }

  /** Hands out what was held back; for a script that ended without its mark. */
  finish(): void {
    if (!this.#complete) this.#keep(this.#held);
    this.#complete = true;
    this.#lines.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  #take(bytes: Buffer): void {
    const end = bytes.indexOf(this.#mark);
    if (end >= 0) {
      this.#keep(bytes.subarray(0, end));
      this.#complete = true;
      this.#lines.finish();
      return;
    }
    // The mark begins with NUL: only from the last NUL near the end on can it be incomplete.
    const nul = bytes.indexOf(0, Math.max(0, bytes.length - this.#mark.length + 1));
    const cut = nul < 0 ? bytes.length : nul;
    this.#keep(bytes.subarray(0, cut));
    this.#held = bytes.subarray(cut);
  }

  #keep(bytes: Buffer): void {
    if (bytes.length === 0) return;
    const own = Buffer.from(bytes);
    this.#kept.push(own);
    this.#lines.push(own);
  }
}
