/**
 * The two worlds of errors. Data plane: `BlockError`, a small errno-like code per failed request. Control plane:
 * `GatewayError`, written for the person who has to fix it. Both are branded rather than tested with `instanceof`,
 * since a plugin may carry its own copy of this package.
 */

/** What a failed request can say. `ENOTSUP` becomes VIRTIO_BLK_S_UNSUPP, everything else VIRTIO_BLK_S_IOERR. */
export type BlockErrno =
  | 'EIO'
  | 'EINVAL'
  | 'ENOSPC'
  | 'EROFS'
  | 'ENOTSUP'
  | 'ETIMEDOUT'
  | 'ECONNLOST'
  | 'ESHUTDOWN'
  | 'ENOMEM';

const BLOCK_ERROR = Symbol.for('blockgate.BlockError');
const GATEWAY_ERROR = Symbol.for('blockgate.GatewayError');

export interface BlockErrorOptions {
  /** True when the same request may succeed later without anybody's help. */
  readonly retriable?: boolean;
  readonly cause?: unknown;
}

/** A request failed. Thrown by backends and filters, turned into a virtio-blk status by the frontend. */
export class BlockError extends Error {
  readonly code: BlockErrno;
  readonly retriable: boolean;
  readonly [BLOCK_ERROR] = true;

  constructor(code: BlockErrno, message: string, options: BlockErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BlockError';
    this.code = code;
    this.retriable = options.retriable ?? false;
  }

  static is(value: unknown): value is BlockError {
    return typeof value === 'object' && value !== null && BLOCK_ERROR in value;
  }
}

/** A place in a file that a person wrote. Lines and columns count from 1. */
export interface ErrorLocation {
  readonly file: string;
  /** JSON pointer (RFC 6901) of the value at fault. */
  readonly pointer?: string;
  readonly line?: number;
  readonly column?: number;
}

export interface GatewayErrorOptions {
  /** One sentence: which rule or fact made this fail. */
  readonly why?: string;
  /** What to do about it; commands verbatim. */
  readonly fix?: string;
  readonly where?: ErrorLocation;
  readonly cause?: unknown;
}

/** An operation of the control plane failed: what, where, why, how to fix, and a stable dotted code. */
export class GatewayError extends Error {
  /** Dotted, lower case, stable across releases; listed in docs/errors.md. */
  readonly code: string;
  readonly why: string | undefined;
  readonly fix: string | undefined;
  readonly where: ErrorLocation | undefined;
  readonly [GATEWAY_ERROR] = true;

  constructor(code: string, summary: string, options: GatewayErrorOptions = {}) {
    super(summary, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'GatewayError';
    this.code = code;
    this.why = options.why;
    this.fix = options.fix;
    this.where = options.where;
  }

  static is(value: unknown): value is GatewayError {
    return typeof value === 'object' && value !== null && GATEWAY_ERROR in value;
  }
}
