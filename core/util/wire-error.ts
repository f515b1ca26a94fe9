import { type ErrorLocation, GatewayError } from '../api/errors.ts';

/** An error as it crosses to another process or thread: everything a person needs, cause included. */
export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** Of a `GatewayError`, or errno-like. */
  readonly code?: string;
  readonly gateway?: { readonly why?: string; readonly fix?: string; readonly where?: ErrorLocation };
  readonly cause?: WireError;
  /** The parts of an `AggregateError`. */
  readonly errors?: readonly WireError[];
}

/** Causes nested deeper than this are dropped: a chain may be a circle. */
const MAX_DEPTH = 8;

export function toWire(error: unknown, depth = 0): WireError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const code = (error as { code?: unknown }).code;
  const deeper = depth < MAX_DEPTH;
  return {
    name: error.name,
    message: error.message,
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(typeof code === 'string' && { code }),
    ...(GatewayError.is(error) && {
      gateway: {
        ...(error.why !== undefined && { why: error.why }),
        ...(error.fix !== undefined && { fix: error.fix }),
        ...(error.where !== undefined && { where: error.where }),
      },
    }),
    ...(deeper && error.cause !== undefined && { cause: toWire(error.cause, depth + 1) }),
    ...(deeper &&
      error instanceof AggregateError && { errors: error.errors.map((e) => toWire(e, depth + 1)) }),
  };
}

export function fromWire(wire: WireError): Error {
  const error = rebuild(wire);
  if (wire.stack !== undefined) error.stack = wire.stack;
  return error;
}

function rebuild(wire: WireError): Error {
  const options = wire.cause === undefined ? {} : { cause: fromWire(wire.cause) };
  if (wire.gateway)
    return new GatewayError(wire.code ?? 'internal', wire.message, { ...wire.gateway, ...options });
  const error = wire.errors
    ? new AggregateError(wire.errors.map(fromWire), wire.message, options)
    : new Error(wire.message, options);
  error.name = wire.name;
  return wire.code === undefined ? error : Object.assign(error, { code: wire.code });
}
