import type { ObjectStore, PutCondition } from './object-store.ts';
import { isStoreError, type StoreError } from './store-error.ts';

/** Two conditions that do not hold for an object which exists: that there is none, and an ETag that it never had. */
export const WRONG_CONDITIONS: readonly PutCondition[] = [
  'absent',
  { etag: '"00000000000000000000000000000000"' },
];

/** Whether the store refuses to put `body` there on a condition that does not hold. */
export async function refuses(
  store: ObjectStore,
  key: string,
  body: Uint8Array,
  condition: PutCondition,
): Promise<boolean> {
  try {
    await store.put(key, body, { condition });
    return false;
  } catch (error) {
    if (isStoreError(error, 'precondition-failed')) return true;
    if (isStoreError(error, 'rejected')) return false;
    throw error;
  }
}

/** Whether a write on a condition failed as it does where a store does not know conditions, and says so. */
export function lacksConditions(error: unknown): error is StoreError {
  return isStoreError(error, 'rejected') && (error.status === 400 || error.status === 501);
}
