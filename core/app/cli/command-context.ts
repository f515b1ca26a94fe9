import type { Terminal } from './terminal.ts';

/** What every command gets beside its own options. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** What stood after `--`: a command of the user's to run. */
  readonly captive: readonly string[] | undefined;
  /** Set by a command that ends with something else than 0. */
  exitCode: number;
}
