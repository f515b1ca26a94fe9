/** Who wants to know how far a script is. */
export interface ScriptListener {
  update(done: number, total: number): void;
  relabel(label: string): void;
}

/** Takes apart what a script of the demo prints: its `@` lines say how far it is and what it found out. */
export class ScriptReport {
  readonly #listener: ScriptListener;
  readonly #facts = new Map<string, string>();

  constructor(listener: ScriptListener) {
    this.#listener = listener;
  }

  take(line: string): void {
    const [, name, value = ''] = /^@(\w+) (.*)$/.exec(line) ?? [];
    if (name === undefined) return;
    if (name === 'phase') this.#listener.relabel(value);
    else if (name === 'progress') this.#progress(value);
    else this.#facts.set(name, value);
  }

  /** Where the disk was. */
  get device(): string {
    return this.#facts.get('device') ?? '';
  }

  /** How long the transfer took. */
  get seconds(): number {
    return Number(this.#facts.get('nanoseconds')) / 1e9;
  }

  #progress(value: string): void {
    const [done = 0, total = 0] = value.split(' ').map(Number);
    this.#listener.update(done, total);
  }
}
