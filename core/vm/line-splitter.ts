/** Cuts a stream of bytes into lines of UTF-8 text; keeps the unfinished one for later. */
export class LineSplitter {
  readonly #onLine: (line: string) => void;
  readonly #unfinished: Buffer[] = [];

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(chunk: Uint8Array): void {
    let bytes = Buffer.from(chunk);
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
      this.#unfinished.push(bytes.subarray(0, end));
      this.#handOut();
      bytes = bytes.subarray(end + 1);
    }
    if (bytes.length > 0) this.#unfinished.push(bytes);
  }

  /** Hands out what is left as a last line without its end. */
  finish(): void {
    if (this.#unfinished.length > 0) this.#handOut();
  }

  #handOut(): void {
    const line = Buffer.concat(this.#unfinished).toString('utf8');
    this.#unfinished.length = 0;
    this.#onLine(line);
  }
}
