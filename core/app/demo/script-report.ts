/** Takes apart what a script of the demo prints: its `@` lines, and everything else for the log. */
export class ScriptReport {
  readonly #onProgress: (done: number, total: number) => void;
  readonly #onLine: (line: string) => void;
  readonly #facts = new Map<string, string>();

  constructor(onProgress: (done: number, total: number) => void, onLine: (line: string) => void) {
    this.#onProgress = onProgress;
    this.#onLine = onLine;
  }

  readonly take = (line: string): void => {
    this.#onLine(line);
    const [, name, value = ''] = /^@(\w+)(?: (.*))?$/.exec(line) ?? [];
    if (name === undefined) return;
    if (name !== 'progress') {
      this.#facts.set(name, value);
      return;
    }
    const [done, total] = value.split(' ').map(Number);
    this.#onProgress(done!, total!);
  };

  /** Where the disk was. */
  get device(): string {
    return this.#facts.get('device') ?? '';
  }

  /** How long the transfer took. */
  get seconds(): number {
    return Number(this.#facts.get('nanoseconds')) / 1e9;
  }
}
