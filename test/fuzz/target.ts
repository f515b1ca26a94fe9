/** Something that can be run with any seed. A run that finds nothing wrong settles; the same seed does the same. */
export interface FuzzTarget {
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
