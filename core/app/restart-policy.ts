import { GatewayError } from '../api/errors.ts';

/** A disk that ended without being asked to, or that could not be started again after that. */
export interface Death {
  readonly disk: string;
  readonly error: Error;
  /** The how-manieth since it last ran well, this one included. */
  readonly count: number;
}

/** Decides what happens to a disk that died. */
export interface RestartPolicy {
  /** Milliseconds until it is started again; undefined: it stays down. */
  delayAfter(death: Death): number | undefined;
}

/**
 * A disk that ran for so long ran well: its next death counts as the first. A request that kills whoever serves it does so
 * in its first moments, since requests in flight come first. Milliseconds.
 */
export const RAN_WELL_MS = 5_000;

/** By the count of the death; from there on the last. Milliseconds. */
const DELAYS_MS = [0, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000] as const;
const SLOWEST_MS = 30_000;
/** Disks that died together should not all come back at the same moment. */
const JITTER = 0.25;

/** Ends that come by surprise, or pass by themselves: the sooner the disk is back, the better. */
const SUDDEN = new Set([
  'disk.process-died',
  'disk.killed',
  'disk.hung',
  'disk.broken',
  'disk.stop-failed',
  'disk.open-failed',
  'disk.filter-failed',
  'disk.attach-failed',
  's3.unavailable',
]);

/**
 * Ends after which the disk must not come back by itself. Somebody took the device off the bus, so nobody waits for it;
 * or somebody else has the store now, or it has lost its content, and what the kernel has cached of the disk is not true
 * any more.
 */
const FINAL = new Set(['vduse.detached', 'volume.owned', 'volume.in-use', 'disk.content-lost']);

/**
 * Starts a dead disk again, at once the first time, then later and later, for as long as it takes: the device stays in
 * the kernel and whoever uses it waits, so giving up would make nothing better. What was refused for a reason that
 * somebody has to remove is tried at the slowest pace from the start.
 */
export class BackoffRestart implements RestartPolicy {
  readonly #random: () => number;

  /** `random` as `Math.random`; for tests. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  delayAfter({ error, count }: Death): number | undefined {
    const codes = codesOf(error);
    if (codes.some((code) => FINAL.has(code))) return undefined;
    const delayMs = isRefusal(error) ? SLOWEST_MS : (DELAYS_MS[count - 1] ?? SLOWEST_MS);
    return Math.round(delayMs * (1 - JITTER * this.#random()));
  }
}

/** An explanation for a person, which no passage of time takes away; or mistakes in a configuration. */
function isRefusal(error: Error): boolean {
  return error instanceof AggregateError || (GatewayError.is(error) && !SUDDEN.has(error.code));
}

/** Of the error and of what caused it. A chain of causes may be a circle. */
function codesOf(error: Error): string[] {
  const codes: string[] = [];
  let cause: unknown = error;
  for (let depth = 0; cause instanceof Error && depth < 8; depth++) {
    if (GatewayError.is(cause)) codes.push(cause.code);
    cause = cause.cause;
  }
  return codes;
}
