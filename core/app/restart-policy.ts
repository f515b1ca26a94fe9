/** A disk that ended without being asked to. */
export interface Death {
  readonly disk: string;
  readonly error: Error;
  /** How often it has died in this run, this time included. */
  readonly count: number;
}

/** Decides what happens to a disk that died. */
export interface RestartPolicy {
  /** Milliseconds until it is started again; undefined: it stays dead. */
  delayAfter(death: Death): number | undefined;
}

/** A dead disk stays dead: the user is told, and decides. */
export const neverRestart: RestartPolicy = { delayAfter: () => undefined };
