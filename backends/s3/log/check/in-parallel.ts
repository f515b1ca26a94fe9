/** Of a check: as many things at once. The store has a bound of its own. */
const AT_ONCE = 32;

/** Calls `run` for each item, for some at once; begins no other once one has failed. */
export async function inParallel<T>(items: Iterable<T>, run: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let hasFailed = false;
  const work = async (): Promise<void> => {
    while (!hasFailed) {
      const next = iterator.next();
      if (next.done === true) return;
      try {
        await run(next.value);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
  for (const outcome of ended) if (outcome.status === 'rejected') throw outcome.reason;
}
