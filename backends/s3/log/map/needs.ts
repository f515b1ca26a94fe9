import type { CheckpointRef } from '../head.ts';
import type { LogSource } from '../log-source.ts';
import { SliceReader } from './slice-reader.ts';
import { mergeEntries, readTables, type SeenTables } from './stored-map.ts';

/** What must not be deleted because of a checkpoint. */
export interface Needs {
  /** Keys of objects of the log. */
  readonly objects: ReadonlySet<string>;
  /** Keys of checkpoints: it is one of them. */
  readonly checkpoints: ReadonlySet<string>;
  /** All that it knows, also what it does not need and nobody has condemned yet: keys, and bytes of data as they are stored. */
  readonly known: ReadonlyMap<string, number>;
}

/** Throws `volume.corrupt`. */
export async function needsOf(
  { store, key }: Pick<LogSource, 'store' | 'key'>,
  ref: CheckpointRef,
  tablesSeen: SeenTables = new Map(),
): Promise<Needs> {
  const reader = new SliceReader(store, key);
  const { parts, tables, pages } = await reader.root(ref);
  const entries = mergeEntries(await readTables(reader, tables, tablesSeen));
  const checkpoints = new Set([ref.key]);
  for (const { part } of [...tables, ...pages.flatMap(({ slices }) => slices)]) checkpoints.add(part.key);
  const objects = [...entries].filter(([, { live }]) => live > 0).map(([name]) => name);
  const known = new Map<string, number>();
  for (const name of [...checkpoints, ...parts.map((part) => part.key)]) known.set(name, 0);
  for (const [name, { stored }] of entries) known.set(name, stored);
  return { objects: new Set(objects), checkpoints, known };
}

/** Keys of everything that must not be deleted because of these checkpoints. */
export async function needsOfAll(
  source: Pick<LogSource, 'store' | 'key'>,
  refs: readonly CheckpointRef[],
): Promise<Set<string>> {
  const keys = new Set<string>();
  const seen: SeenTables = new Map();
  for (const ref of refs) {
    const { objects, checkpoints } = await needsOf(source, ref, seen);
    for (const key of [...objects, ...checkpoints]) keys.add(key);
  }
  return keys;
}

/** What snapshots need, as far as it is known. */
export class Pins {
  readonly #source: LogSource;
  readonly #known = new Set<string>();
  /** Keys of objects of the log. */
  readonly objects = new Set<string>();
  readonly checkpoints = new Set<string>();

  constructor(source: LogSource) {
    this.#source = source;
  }

  knows({ key }: CheckpointRef): boolean {
    return this.#known.has(key);
  }

  /** Looks at those checkpoints that it does not know. Throws `volume.corrupt`. */
  async learn(refs: readonly CheckpointRef[]): Promise<void> {
    // Snapshots have most of their tables in common.
    const seen: SeenTables = new Map();
    for (const ref of refs) {
      if (this.#known.has(ref.key)) continue;
      const needs = await needsOf(this.#source, ref, seen);
      this.#known.add(ref.key);
      for (const key of needs.objects) this.objects.add(key);
      for (const key of needs.checkpoints) this.checkpoints.add(key);
    }
  }
}
