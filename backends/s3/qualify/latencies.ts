import type { ObjectStore } from '../store/object-store.ts';

/** Requests whose times are told. */
const TIMED = 40;

/** Of small objects, one after the other. */
export async function latencies(store: ObjectStore, key: () => string): Promise<string> {
  const body = Buffer.alloc(4096, 1);
  const [puts, gets]: [number[], number[]] = [[], []];
  const timed = async (into: number[], run: () => Promise<unknown>): Promise<void> => {
    const start = performance.now();
    await run();
    into.push(performance.now() - start);
  };
  for (let i = 0; i < TIMED; i++) {
    const name = key();
    await timed(puts, () => store.put(name, body, {}));
    await timed(gets, () => store.read(name, 0, [Buffer.alloc(4096)]));
  }
  const show = (times: number[]): string => {
    const sorted = times.toSorted((a, b) => a - b);
    const at = (share: number): string => sorted[Math.ceil(share * sorted.length) - 1]!.toFixed(1);
    return `${at(0.5)} ms (median), ${at(0.95)} (p95), ${at(1)} at most`;
  };
  return `4 KiB are stored in ${show(puts)}, and read in ${show(gets)}`;
}
