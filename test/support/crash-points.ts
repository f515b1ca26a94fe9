import { vi } from 'vitest';

/** Contents of several memories at one moment. */
export type Snapshot = readonly Uint8Array[];

/** Above this many bytes changed by plain stores, only some of the combinations are looked at. */
const ALL_SUBSETS_UP_TO = 7;

/**
 * Runs `work` and returns every content the memories can have when the process is killed during it, the one before and
 * the one after included. Stores through Atomics happen one after the other; of the plain stores between two of them
 * any subset may have happened, since the compiler may exchange them.
 */
export function crashPoints(memories: readonly Uint8Array[], work: () => void): Snapshot[] {
  const take = (): Snapshot => memories.map((memory) => memory.slice());
  const found = new Map<string, Snapshot>();
  let before = take();
  const plainStoresUntilNow = (): void => {
    for (const snapshot of between(before, take())) {
      const key = snapshot.map((memory) => Buffer.from(memory).toString('latin1')).join();
      if (!found.has(key)) found.set(key, snapshot);
    }
  };
  const original = Atomics.store;
  const spy = vi.spyOn(Atomics, 'store').mockImplementation(((
    array: Uint8Array,
    at: number,
    value: number,
  ) => {
    plainStoresUntilNow();
    const result = original(array, at, value);
    before = take();
    return result;
  }) as typeof Atomics.store);
  try {
    work();
  } finally {
    spy.mockRestore();
  }
  plainStoresUntilNow();
  return [...found.values()];
}

/** Snapshots in which some of the bytes are still as in `from`, and others as in `to` already. */
function* between(from: Snapshot, to: Snapshot): Generator<Snapshot> {
  const changed = from.flatMap((memory, which) =>
    [...memory.keys()].filter((at) => memory[at] !== to[which]![at]).map((at) => ({ which, at })),
  );
  const withSome = (isStored: (index: number) => boolean): Snapshot => {
    const snapshot = from.map((memory) => memory.slice());
    changed.forEach(({ which, at }, index) => {
      if (isStored(index)) snapshot[which]![at] = to[which]![at]!;
    });
    return snapshot;
  };
  if (changed.length <= ALL_SUBSETS_UP_TO) {
    for (let subset = 0; subset < 2 ** changed.length; subset++)
      yield withSome((index) => ((subset >> index) & 1) === 1);
    return;
  }
  for (let count = 0; count <= changed.length; count++) {
    yield withSome((index) => index < count);
    yield withSome((index) => index >= count);
    yield withSome((index) => index !== count);
    yield withSome((index) => index === count);
  }
}
