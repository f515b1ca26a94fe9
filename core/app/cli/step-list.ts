import { ProgressBar } from './progress-bar.ts';
import type { Terminal } from './terminal.ts';

/** What one step may do while it runs. */
export interface Step {
  /** Shows how far it is, in bytes. */
  update(done: number, total: number): void;
  /** Shows what it does just now. */
  relabel(label: string): void;
}

/** Runs the steps of something long one after the other: each has a progress bar, then a line with what came out. */
export class StepList {
  readonly #terminal: Terminal;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** `work` returns its result and what to say about it. A step that fails is marked, and its error passed on. */
  async run<T>(label: string, work: (step: Step) => Promise<readonly [T, string]>): Promise<T> {
    const started = performance.now();
    using bar = new ProgressBar(this.#terminal, label);
    try {
      const [result, text] = await work(bar);
      const seconds = `${((performance.now() - started) / 1000).toFixed(1)} s`;
      this.#terminal.say(
        `${this.#terminal.tint('green', '✔')} ${text}  ${this.#terminal.tint('dim', seconds)}`,
      );
      return result;
    } catch (error) {
      this.#terminal.say(`${this.#terminal.tint('red', '✖')} ${label}`);
      throw error;
    }
  }
}
