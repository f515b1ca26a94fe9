export interface HangDetectorOptions {
  /** Milliseconds without an answer that are too many. */
  readonly limitMs: number;
  /** Asks; the answer is to be passed on by calling `answered`. */
  readonly ask: () => void;
  /** Called once, `limitMs` to one and a half times that after the last answer. */
  readonly onHung: () => void;
}

/** Asks another process for signs of life, until it gives none or this is disposed of. */
export class HangDetector implements Disposable {
  readonly #timer: NodeJS.Timeout;
  #unanswered = 0;

  constructor({ limitMs, ask, onHung }: HangDetectorOptions) {
    // Counted in questions, not in time: when this process itself was stopped, the answers are read before it asks again.
    this.#timer = setInterval(() => {
      if (this.#unanswered < 2) {
        this.#unanswered++;
        ask();
      } else {
        clearInterval(this.#timer);
        onHung();
      }
    }, limitMs / 2);
  }

  answered(): void {
    this.#unanswered = 0;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
