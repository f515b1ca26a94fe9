import type { Logger } from '../../../../core/plugin.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { Prices } from '../../store/prices.ts';
import type { Appender } from '../appender.ts';
import { type FrameCache, readHeader } from '../cache/frame-cache.ts';
import type { VolumeKey } from '../encryption/volume-key.ts';
import { FrameTable } from '../frames/frame-table.ts';
import { type LogObject, learnFrames } from '../log-object.ts';
import type { Run } from '../map/block-map.ts';
import { PAGE_BLOCKS } from '../map/page-blocks.ts';
import type { StoredMap } from '../map/stored-map.ts';
import type { LogNames } from '../names.ts';
import { BLOCK, type ObjectHeader } from '../object-header.ts';
import { type Candidate, COPY_BYTES, checkpointStep, chooseVictims } from './collection-policy.ts';
import { gather, type LiveRun } from './gather.ts';
import type { LogSpace } from './log-space.ts';
import type { ObjectAges } from './object-ages.ts';
import type { Pace } from './pace.ts';

/** Of the map, when it is looked for what was overwritten. */
const PAGES_AT_ONCE = 64;

export interface CollectorOptions {
  readonly store: ObjectStore;
  readonly names: LogNames;
  /** Of a volume that is encrypted. */
  readonly key: VolumeKey | undefined;
  readonly stored: StoredMap;
  readonly frames: FrameCache;
  readonly ages: ObjectAges;
  readonly appender: Appender;
  readonly pinned: ReadonlySet<string>;
  /** Blocks that the log may hold for each block of the disk that is in use. */
  readonly spaceTarget: number;
  readonly space: LogSpace;
  readonly pace: Pace;
  readonly prices: Prices;
  readonly logger: Logger;
  /** Deletes objects that have been emptied, with a checkpoint. */
  readonly free: () => Promise<void>;
}

interface Victim extends Candidate {
  readonly object: LogObject;
}

/**
 * Frees what is occupied by blocks that were overwritten: what is still needed of some objects is appended to the log as
 * copies, and the next checkpoint condemns what then is empty. Judges by the map alone, which knows nothing that is not
 * durable; a copy counts only while its block is still where it was copied from, so nothing newer is undone. Objects that a
 * snapshot or another volume has are left alone.
 */
export class Collector {
  readonly #options: CollectorOptions;
  #running: Promise<void> | undefined;
  #stopped = false;
  /** Objects that are damaged or gone. */
  readonly #unreadable: Set<LogObject>;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#unreadable = options.space.unreadable;
  }

  /** Looks whether there is something to collect, unless that is under way. */
  start(): void {
    if (this.#stopped) return;
    this.#running ??= this.#options.pace
      .during(this.#run())
      .catch((error: unknown) =>
        this.#options.logger.debug('collecting ended early', { reason: String(error) }),
      )
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** Settles when nothing is under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    const { stored, ages } = this.#options;
    const unknown = [...stored.table.values()].filter((object) => object.isStored && !ages.has(object));
    ages.addBefore(unknown.sort((a, b) => a.place!.epoch - b.place!.epoch || a.place!.seq - b.place!.seq));
    await this.#resolve();
    const victims = this.#victims();
    if (victims.length === 0) return;
    this.#unreadable.clear();
    for await (const batch of batches(this.#runsOf(victims))) {
      await this.#copy(batch);
      if (this.#stopped) return;
      if (this.#options.pace.mustFree) await this.#options.free();
    }
    void this.#options.free().catch(() => undefined);
  }

  /** Finds out what was overwritten in pages of the map that were not in memory, if it may be much. */
  async #resolve(): Promise<void> {
    const { stored, spaceTarget } = this.#options;
    const { map } = stored;
    while (!this.#stopped && map.unresolvedBlocks > map.used * checkpointStep(spaceTarget))
      await map.resolve(PAGES_AT_ONCE);
  }

  /** Oldest content first: what was written at about the same time is copied together, and lives about as long. */
  #victims(): LogObject[] {
    const { names, stored: known, pinned, ages, spaceTarget, prices } = this.#options;
    let [stored, live] = [0, 0];
    const candidates: Victim[] = [];
    for (const object of known.table.values()) {
      // Those that are not durable, empty, kept by a snapshot, or of somebody else.
      if (object.place === undefined || object.data !== undefined || object.live === 0) continue;
      if (object.names.root !== names.root || pinned.has(names.object(object.place))) continue;
      stored += object.blocks;
      live += object.live;
      candidates.push({
        object,
        blocks: object.blocks,
        live: object.live,
        age: ages.age(object),
        hours: ages.hours(object),
      });
    }
    return chooseVictims(candidates, { stored, live, target: spaceTarget }, prices)
      .sort((a, b) => b.age - a.age)
      .map(({ object }) => object);
  }

  /** What is needed of each object. Which blocks of the disk came from it once, its header says. */
  async *#runsOf(objects: readonly LogObject[]): AsyncGenerator<LiveRun> {
    const { store, key, stored } = this.#options;
    const run: Run = { id: 0, block: 0, count: 0 };
    for (const object of objects) {
      const found = await readHeader(store, { name: object.names.object(object.place!), key });
      // What is damaged is left for reads to report.
      if (typeof found !== 'object') this.#unreadable.add(object);
      if (this.#stopped || typeof found !== 'object') continue;
      const { header, bytes } = found;
      if (object.frames === undefined)
        learnFrames(object, new FrameTable(header.blocks, header.frames, header.cipher), bytes.length);
      for (const { lba, end } of rangesOf(header)) {
        for (let at = lba; at < end; at += run.count) {
          for (let loading = stored.map.need(at, 1); loading !== undefined; loading = stored.map.need(at, 1))
            await loading;
          const stop = Math.min(end, (Math.floor(at / PAGE_BLOCKS) + 1) * PAGE_BLOCKS);
          stored.map.find(at, stop - at, run);
          if (run.id === object.id) yield { object, lba: at, block: run.block, count: run.count };
        }
      }
    }
  }

  async #copy(runs: readonly LiveRun[]): Promise<void> {
    const { frames, appender, ages, space, pace } = this.#options;
    const data = await gather(frames, runs, (object) => this.#unreadable.add(object));
    if (this.#stopped || appender.failure !== undefined || data.every((bytes) => bytes === undefined)) return;
    let copies: LogObject | undefined;
    let [blocks, written] = [0, 0];
    appender.append((batch) => {
      copies = batch.object;
      for (const [i, { object, lba, block, count }] of runs.entries()) {
        if (data[i] === undefined) continue;
        batch.copy(lba, data[i], { ...object.place!, block });
        blocks += count;
        written += count * ages.written(object);
      }
    });
    // The store has to keep up with the copies, also where guests do not wait for it.
    await appender.flushToStore();
    ages.backdate(copies!, written / blocks);
    let freed = -blocks;
    for (const object of new Set(runs.map((run) => run.object)))
      if (object.live === 0) {
        space.emptied(object);
        freed += object.blocks;
      }
    pace.freed(freed);
  }
}

/** Blocks of the disk, in their order, each once. */
function rangesOf({ extents }: ObjectHeader): { readonly lba: number; end: number }[] {
  const ranges: { readonly lba: number; end: number }[] = [];
  const data = extents.filter(({ kind }) => kind !== 'zero');
  for (const { lba, blocks } of data.sort((a, b) => a.lba - b.lba)) {
    const last = ranges.at(-1);
    if (last !== undefined && lba <= last.end) last.end = Math.max(last.end, lba + blocks);
    else ranges.push({ lba, end: lba + blocks });
  }
  return ranges;
}

/** Runs that become one object, in the order of the disk. */
async function* batches(runs: AsyncIterable<LiveRun>): AsyncGenerator<LiveRun[]> {
  let batch: LiveRun[] = [];
  let bytes = 0;
  const ordered = (): LiveRun[] => batch.sort((a, b) => a.lba - b.lba);
  for await (const run of runs) {
    batch.push(run);
    bytes += run.count * BLOCK;
    if (bytes < COPY_BYTES) continue;
    yield ordered();
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield ordered();
}
