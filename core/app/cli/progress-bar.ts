import { formatSize } from '../../util/size.ts';
import type { Terminal } from './terminal.ts';

/** Shorter waits need no bar. Milliseconds. */
const PATIENCE_MS = 500;
const REDRAW_MS = 100;
/** Where lines cannot be redrawn: one line this often. Milliseconds. */
const LINE_MS = 5_000;
const BAR_WIDTH = 24;
const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

export interface ProgressOptions {
  /** Milliseconds; for tests. */
  readonly now?: () => number;
  /** How `done` and `total` are written. Default `bytes`. */
  readonly unit?: 'bytes' | 'count';
}

/** Shows that something long is under way, on standard error, until it is disposed of. */
export class ProgressBar implements Disposable {
  readonly #terminal: Terminal;
  readonly #now: () => number;
  readonly #unit: 'bytes' | 'count';
  readonly #started: number;
  readonly #timer: NodeJS.Timeout;
  #label: string;
  #done: number | undefined;
  #total: number | undefined;

  constructor(terminal: Terminal, label: string, options: ProgressOptions = {}) {
    this.#terminal = terminal;
    this.#label = label;
    this.#now = options.now ?? (() => performance.now());
    this.#unit = options.unit ?? 'bytes';
    this.#started = this.#now();
    this.#timer = setInterval(() => this.#draw(), terminal.isInteractive ? REDRAW_MS : LINE_MS);
    this.#timer.unref();
  }

  /** `total` unknown: only `done` is shown. */
  update(done: number, total?: number): void {
    this.#done = done;
    this.#total = total;
  }

  /** What is under way now; how far it is will follow. */
  relabel(label: string): void {
    this.#label = label;
    this.#done = undefined;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#terminal.clearStatus();
  }

  #draw(): void {
    const elapsed = this.#now() - this.#started;
    if (elapsed < PATIENCE_MS) return;
    const text = this.#text(elapsed);
    const spinner = SPINNER[Math.floor(elapsed / REDRAW_MS) % SPINNER.length]!;
    if (this.#terminal.isInteractive) this.#terminal.drawStatus(`${spinner} ${text}`);
    else this.#terminal.say(text);
  }

  #text(elapsedMs: number): string {
    const seconds = `${Math.round(elapsedMs / 1000)} s`;
    if (this.#done === undefined) return `${this.#label} … ${seconds}`;
    if (!this.#total) return `${this.#label} … ${this.#amount(this.#done)}, ${seconds}`;
    const share = Math.min(1, this.#done / this.#total);
    const filled = Math.round(share * BAR_WIDTH);
    const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled);
    const amount = `${this.#amount(this.#done)} of ${this.#amount(this.#total)}`;
    return `${this.#label} ${bar} ${Math.floor(share * 100)} % · ${amount} · ${seconds}`;
  }

  #amount(value: number): string {
    return this.#unit === 'bytes' ? formatSize(value) : String(value);
  }
}
