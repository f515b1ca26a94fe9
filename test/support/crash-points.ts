import { vi } from 'vitest';

/** Contents of several memories at one moment. */
export type Snapshot = readonly Uint16Array<ArrayBuffer>[];

/** When plain stores changed more than this many units, only some of the combinations are looked at. */
const ALL_SUBSETS_UP_TO = 6;

/**
 * Runs `work` and returns every content the memories can have when the process is killed during it, the one before and
 * the one after included. Stores through Atomics happen one after the other; of the plain stores between two of them
 * any subset may have happened, since the compiler may exchange them. No store is torn within 16 bits.
 */
export function crashPoints(memories: readonly Uint8Array[], work: () => void): Snapshot[] {
  const take = (): Snapshot => memories.map((memory) => new Uint16Array(memory.slice().buffer));
  const found: Snapshot[] = [];
  let before = take();
  const original = Atomics.store;
  const spy = vi.spyOn(Atomics, 'store').mockImplementation(((
    array: Uint8Array,
    at: number,
    value: number,
  ) => {
    found.push(...between(before, take()));
    const result = original(array, at, value);
    before = take();
    return result;
  }) as typeof Atomics.store);
  try {
    work();
  } finally {
    spy.mockRestore();
  }
  found.push(...between(before, take()));
  return found;
}

/** Snapshots in which some of the units are still as in `from`, and others as in `to` already. */
function between(from: Snapshot, to: Snapshot): Snapshot[] {
  const changed = from.flatMap((memory, which) => {
    const ats: { which: number; at: number }[] = [];
    for (let at = 0; at < memory.length; at++) if (memory[at] !== to[which]![at]) ats.push({ which, at });
    return ats;
  });
  const withSome = (isStored: (index: number) => boolean): Snapshot => {
    const snapshot = from.map((memory) => memory.slice());
    changed.forEach(({ which, at }, index) => {
      if (isStored(index)) snapshot[which]![at] = to[which]![at]!;
    });
    return snapshot;
  };
  if (changed.length <= ALL_SUBSETS_UP_TO) {
    return Array.from({ length: 2 ** changed.length }, (_, subset) =>
      withSome((index) => ((subset >> index) & 1) === 1),
    );
  }
  return [
    withSome(() => false),
    ...changed.flatMap((_, turn) => [
      withSome((index) => index <= turn),
      withSome((index) => index > turn),
      withSome((index) => index !== turn),
      withSome((index) => index === turn),
    ]),
  ];
}
