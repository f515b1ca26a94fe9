import type { MaybePromise } from '../api/device.ts';

/**
 * Settles when all of them have, also when one fails: none may go on with borrowed memory after the call that it is a part
 * of. Rejects with the reason of the first in the order given that has failed.
 */
export async function settleAll(pending: readonly (Promise<unknown> | MaybePromise<void>)[]): Promise<void> {
  for (const result of await Promise.allSettled(pending))
    if (result.status === 'rejected') throw result.reason;
}
