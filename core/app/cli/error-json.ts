import { GatewayError } from '../../api/errors.ts';

/** An error as scripts read it; `code` is stable, the sentences are not. */
export function errorToJson(error: unknown): Readonly<Record<string, unknown>> {
  if (!(error instanceof Error)) return { message: String(error) };
  if (error instanceof AggregateError) {
    return { message: error.message, errors: error.errors.map(errorToJson) };
  }
  if (!GatewayError.is(error)) return { message: error.message };
  const { code, message, why, fix, where } = error;
  return { code, message, why, fix, where };
}
