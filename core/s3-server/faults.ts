import { seededRandom } from '../util/random.ts';
import type { S3ErrorCode } from './errors.ts';
import type { OperationName } from './router.ts';

/** What goes wrong with one request. Parts combine: a delay, then an error. */
export interface Fault {
  /** Milliseconds to wait before the request is looked at. */
  readonly delayMs?: number;
  /** Answered instead of carrying the request out. */
  readonly error?: S3ErrorCode;
  /** The connection is cut without carrying the request out. */
  readonly dropRequest?: boolean;
  /** The request is carried out, then the connection is cut without an answer. */
  readonly loseResponse?: boolean;
  /** Milliseconds to wait after the request is carried out, before it is answered. */
  readonly stallMs?: number;
  /** The connection is cut after so many bytes of a GET's body. */
  readonly cutBodyAt?: number;
}

/** What a fault can be decided by. */
export interface FaultSubject {
  readonly operation: OperationName;
  readonly method: string;
  readonly bucket: string | undefined;
  readonly key: string | undefined;
}

/** Faults by chance, the same for the same seed and order of requests. Rates are probabilities from 0 to 1. */
export interface FaultPlan {
  readonly seed?: number;
  /** Uniform within [min, max], or normal around the mean with `jitter` as its standard deviation. Milliseconds. */
  readonly latencyMs?:
    | readonly [min: number, max: number]
    | { readonly mean: number; readonly jitter: number };
  /** 503 SlowDown and 500 InternalError, half each. */
  readonly errorRate?: number;
  readonly lostResponseRate?: number;
  readonly stallRate?: number;
  /** How long a stalled request is held back. Default 1000. */
  readonly stallMs?: number;
  /** Only these operations suffer. Default all. */
  readonly operations?: readonly OperationName[];
  /** Only keys that match suffer; requests without a key then never do. */
  readonly keys?: RegExp;
  /** Decides a request before chance does; undefined leaves it to chance. */
  readonly onRequest?: (subject: FaultSubject) => Fault | undefined;
}

/** Draws the faults of a plan. */
export class FaultInjector {
  readonly #plan: FaultPlan;
  readonly #random: () => number;

  constructor(plan: FaultPlan = {}) {
    this.#plan = plan;
    this.#random = seededRandom(plan.seed ?? 0);
  }

  next(subject: FaultSubject): Fault | undefined {
    const plan = this.#plan;
    const chosen = plan.onRequest?.(subject);
    if (chosen) return chosen;
    if (plan.operations && !plan.operations.includes(subject.operation)) return undefined;
    if (plan.keys && !(subject.key !== undefined && plan.keys.test(subject.key))) return undefined;
    // Always as many draws for a request, so that one rate does not shift the others.
    const [fails, which, loses, stalls] = [this.#random(), this.#random(), this.#random(), this.#random()];
    const delayMs = this.#latency();
    const error = fails < (plan.errorRate ?? 0) ? (which < 0.5 ? 'SlowDown' : 'InternalError') : undefined;
    const loseResponse = loses < (plan.lostResponseRate ?? 0);
    const stallMs = stalls < (plan.stallRate ?? 0) ? (plan.stallMs ?? 1000) : 0;
    if (delayMs === 0 && !error && !loseResponse && stallMs === 0) return undefined;
    return { delayMs, loseResponse, stallMs, ...(error && { error }) };
  }

  #latency(): number {
    const { latencyMs } = this.#plan;
    const [u, v] = [this.#random(), this.#random()];
    if (!latencyMs) return 0;
    if ('mean' in latencyMs) {
      // Box–Muller; 1 - u keeps the logarithm's argument above 0.
      const normal = Math.sqrt(-2 * Math.log(1 - u)) * Math.cos(2 * Math.PI * v);
      return Math.max(0, latencyMs.mean + latencyMs.jitter * normal);
    }
    const [min, max] = latencyMs;
    return min + (max - min) * u;
  }
}
