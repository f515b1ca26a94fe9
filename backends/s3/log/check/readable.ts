import { GatewayError } from '../../../../core/plugin.ts';

/** Undefined also where it is there and cannot be understood. */
export async function readable<T>(read: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (GatewayError.is(error)) return undefined;
    throw error;
  }
}
