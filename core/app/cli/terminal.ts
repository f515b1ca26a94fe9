import { styleText } from 'node:util';

type Format = Parameters<typeof styleText>[0];

/** Where a command writes: data for scripts to standard output, prose for people to standard error. */
export class Terminal {
  readonly #stdout: NodeJS.WriteStream;
  readonly #stderr: NodeJS.WriteStream;
  #hasStatus = false;

  constructor(stdout: NodeJS.WriteStream = process.stdout, stderr: NodeJS.WriteStream = process.stderr) {
    this.#stdout = stdout;
    this.#stderr = stderr;
  }

  /** Lines can be redrawn on standard error. */
  get isInteractive(): boolean {
    return this.#stderr.isTTY === true;
  }

  /** Columns of standard error. */
  get columns(): number {
    return this.#stderr.columns ?? 80;
  }

  /** Width for text on standard output; where it is no terminal, one that suits files. */
  get pageWidth(): number {
    return Math.min(this.#stdout.columns ?? 100, 100);
  }

  /** One line, or several, of data. */
  print(text: string): void {
    this.clearStatus();
    this.#stdout.write(`${text}\n`);
  }

  printJson(value: unknown): void {
    this.print(JSON.stringify(value));
  }

  /** One line, or several, for a person. */
  say(text: string): void {
    this.writeRaw(`${text}\n`);
  }

  /** Standard error as it is, without a line feed. */
  writeRaw(text: string): void {
    this.clearStatus();
    this.#stderr.write(text);
  }

  /** Redraws the last line of an interactive terminal; the next line that is written takes its place. */
  drawStatus(text: string): void {
    this.#stderr.write(`\r\x1b[2K${text.slice(0, this.columns - 1)}`);
    this.#hasStatus = true;
  }

  clearStatus(): void {
    if (this.#hasStatus) this.#stderr.write('\r\x1b[2K');
    this.#hasStatus = false;
  }

  /** Colours for `print`; nothing where NO_COLOR is set or the stream is not a terminal. */
  style(format: Format, text: string): string {
    return styleText(format, text, { stream: this.#stdout });
  }

  /** Colours for `say`. */
  tint(format: Format, text: string): string {
    return styleText(format, text, { stream: this.#stderr });
  }
}
