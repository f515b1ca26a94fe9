import { settleAll } from './settle-all.ts';

/**
 * Calls `run` for each item, at most `atOnce` at a time, and begins no other once one has failed. All of them are over when
 * it settles. Rejects with what failed first.
 */
export async function inParallel<T>(
  items: Iterable<T>,
  atOnce: number,
  run: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let failure: { readonly error: unknown } | undefined;
  const work = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
      try {
        await run(next.value);
      } catch (error) {
        failure ??= { error };
      }
      if (failure !== undefined) throw failure.error;
    }
  };
  await settleAll(Array.from({ length: atOnce }, work));
}
