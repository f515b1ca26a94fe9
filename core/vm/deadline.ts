/** What `withDeadline` resolves to when time was up first. */
export const EXPIRED = Symbol('expired');

/**
 * `work`, unless `timeoutMs` pass first (`EXPIRED`) or `signal` is aborted (rejects with its reason). The work itself
 * is not stopped: that is for its owner, who knows how.
 */
export async function withDeadline<T>(
  work: Promise<T>,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<T | typeof EXPIRED> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<typeof EXPIRED>();
  const timer = setTimeout(resolve, timeoutMs, EXPIRED);
  const onAbort = (): void => reject(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
