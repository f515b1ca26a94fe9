import type { Logger } from '../../../../core/plugin.ts';
import type { Appender } from '../appender.ts';
import type { FrameCache } from '../cache/frame-cache.ts';
import type { LogObject, ObjectTable } from '../log-object.ts';
import type { BlockMap } from '../map/block-map.ts';
import type { LogNames } from '../names.ts';
import { BLOCK } from '../object-header.ts';
import { type Candidate, COPY_BYTES, chooseVictims } from './collection-policy.ts';
import { gather, type LiveRun } from './gather.ts';
import type { ObjectAges } from './object-ages.ts';

export interface CollectorOptions {
  readonly names: LogNames;
  readonly table: ObjectTable;
  readonly map: BlockMap;
  readonly frames: FrameCache;
  readonly ages: ObjectAges;
  readonly appender: Appender;
  readonly pinned: ReadonlySet<string>;
  /** Blocks that the log may hold for each block of the disk that is in use. */
  readonly spaceTarget: number;
  readonly logger: Logger;
  /** Objects have been emptied: the next checkpoint frees them. */
  readonly onCollected: () => void;
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

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  /** Looks whether there is something to collect, unless that is under way. */
  start(): void {
    if (this.#stopped) return;
    this.#running ??= this.#run()
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
    const victims = this.#victims();
    if (victims.length === 0) return;
    for (const batch of batches(this.#runsOf(victims))) {
      await this.#copy(batch);
      if (this.#stopped) return;
    }
    this.#options.onCollected();
  }

  /** Oldest content first: what was written at about the same time is copied together, and lives about as long. */
  #victims(): LogObject[] {
    const { names, table, pinned, ages, spaceTarget } = this.#options;
    let [stored, live] = [0, 0];
    const candidates: Victim[] = [];
    for (const object of table.values()) {
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
    return chooseVictims(candidates, { stored, live, target: spaceTarget })
      .sort((a, b) => b.age - a.age)
      .map(({ object }) => object);
  }

  /** What is needed of each object. */
  #runsOf(objects: readonly LogObject[]): LiveRun[] {
    const byObject = new Map<number, LiveRun[]>(objects.map(({ id }) => [id, []]));
    for (const { id, lba, block, count } of this.#options.map.runs())
      byObject.get(id)?.push({ object: this.#options.table.get(id), lba, block, count });
    return [...byObject.values()].flat();
  }

  async #copy(runs: readonly LiveRun[]): Promise<void> {
    const { frames, appender, ages } = this.#options;
    const data = await gather(frames, runs);
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
    await appender.flush();
    ages.backdate(copies!, written / blocks);
  }
}

/** Runs that become one object, in the order of the disk. */
function* batches(runs: readonly LiveRun[]): Generator<LiveRun[]> {
  let batch: LiveRun[] = [];
  let bytes = 0;
  const ordered = (): LiveRun[] => batch.sort((a, b) => a.lba - b.lba);
  for (const run of runs) {
    batch.push(run);
    bytes += run.count * BLOCK;
    if (bytes < COPY_BYTES) continue;
    yield ordered();
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield ordered();
}
