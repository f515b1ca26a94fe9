import type { Logger } from '../../core/api/logger.ts';

/** Something that can be run with any seed. A run that finds nothing wrong settles; the same seed does the same. */
export interface FuzzTarget extends Disposable {
  readonly name: string;
  /** Throws or rejects when what is tested did what it must not do. */
  run(seed: number): void | Promise<void>;
  /** What the runs so far reached, for the report: a fuzzer that never gets anywhere finds nothing. */
  reached(): Readonly<Record<string, number>>;
}

/** An invariant does not hold. */
export function violated(what: string): never {
  throw new Error(`invariant violated: ${what}`);
}

/** For what is said of every run. */
export const quietLogger: Logger = {
  error: () => undefined,
  warn: () => undefined,
  info: () => undefined,
  debug: () => undefined,
  child: () => quietLogger,
};
