import type { Check } from './check.ts';
import type { Level } from './test-store.ts';

export type Outcome = 'passed' | 'failed' | { readonly notOffered: string };

/** What a backend was found to do. */
export class Certificate {
  readonly #title: string;
  readonly #level: Level;
  readonly #outcomes = new Map<Check, Outcome>();

  constructor(title: string, level: Level) {
    this.#title = title;
    this.#level = level;
  }

  note(check: Check, outcome: Outcome): void {
    this.#outcomes.set(check, outcome);
  }

  /** Nothing failed, and nothing was left out. */
  isEarned(checks: readonly Check[]): boolean {
    return checks.every((check) => {
      const outcome = this.#outcomes.get(check);
      return outcome !== undefined && outcome !== 'failed';
    });
  }

  /** For a person, with a line for every check. */
  print(checks: readonly Check[]): string {
    const lines = checks.map(
      (check) => `  ${check.level}  ${check.title}: ${tell(this.#outcomes.get(check))}`,
    );
    const verdict = this.isEarned(checks)
      ? `conforms to ${this.#level}`
      : `does not conform to ${this.#level}`;
    return [`${this.#title} ${verdict}`, ...lines].join('\n');
  }
}

function tell(outcome: Outcome | undefined): string {
  if (outcome === undefined) return 'not run';
  return typeof outcome === 'string' ? outcome : `not offered (${outcome.notOffered})`;
}
