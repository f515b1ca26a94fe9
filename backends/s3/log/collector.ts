import type { Logger } from '../../../core/plugin.ts';
import type { Appender } from './appender.ts';
import type { BlockMap } from './block-map.ts';
import type { FrameCache } from './frame-cache.ts';
import type { LogObject, ObjectTable } from './log-object.ts';
import type { LogNames } from './names.ts';
import { BLOCK, FRAME_BLOCKS } from './object-header.ts';

/** Of copies that become one object. Bytes. */
const BATCH = 8 * 2 ** 20;

export interface CollectorOptions {
  readonly names: LogNames;
  readonly table: ObjectTable;
  readonly map: BlockMap;
  readonly frames: FrameCache;
  readonly appender: Appender;
  readonly pinned: ReadonlySet<string>;
  /** Blocks that the log may hold for each block of the disk that is in use. */
  readonly spaceTarget: number;
  readonly logger: Logger;
  /** Objects have been emptied: the next checkpoint frees them. */
  readonly onCollected: () => void;
}

interface LiveRun {
  readonly object: LogObject;
  readonly lba: number;
  readonly block: number;
  readonly count: number;
}

/**
 * Frees what is occupied by blocks that were overwritten: what is still needed of the emptiest objects is appended to the
 * log as copies, and the next checkpoint condemns what then is empty. Judges by the map alone, which knows nothing that is
 * not durable; a copy counts only while its block is still where it was copied from, so nothing newer is undone.
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
    if (victims.size === 0) return;
    const runs: LiveRun[] = [];
    for (const { id, lba, block, count } of this.#options.map.runs()) {
      const object = victims.get(id);
      if (object !== undefined) runs.push({ object, lba, block, count });
    }
    let batch: LiveRun[] = [];
    let bytes = 0;
    for (const run of runs) {
      batch.push(run);
      bytes += run.count * BLOCK;
      if (bytes < BATCH) continue;
      await this.#copy(batch);
      batch = [];
      bytes = 0;
      if (this.#stopped) return;
    }
    if (batch.length > 0) await this.#copy(batch);
    this.#options.onCollected();
  }

  /** The emptiest objects, as many as have to go. */
  #victims(): Map<number, LogObject> {
    const { names, table, pinned, spaceTarget } = this.#options;
    let [stored, live] = [0, 0];
    const candidates: LogObject[] = [];
    for (const object of table.values()) {
      // Those that are not durable, empty, kept by a snapshot, or of somebody else.
      if (object.place === undefined || object.data !== undefined || object.live === 0) continue;
      if (object.names.root !== names.root || pinned.has(names.object(object.place))) continue;
      stored += object.blocks;
      live += object.live;
      if (object.live < object.blocks) candidates.push(object);
    }
    const victims = new Map<number, LogObject>();
    candidates.sort((a, b) => a.live / a.blocks - b.live / b.blocks);
    for (const object of candidates) {
      if (stored <= live * spaceTarget) break;
      victims.set(object.id, object);
      stored -= object.blocks - object.live;
    }
    return victims;
  }

  async #copy(runs: readonly LiveRun[]): Promise<void> {
    const data: Buffer[] = [];
    for (const { object, block, count } of runs) {
      const first = Math.floor(block / FRAME_BLOCKS);
      const last = Math.floor((block + count - 1) / FRAME_BLOCKS);
      const frames = Buffer.concat(await this.#options.frames.fetch(object, first, last - first + 1));
      const skip = (block - first * FRAME_BLOCKS) * BLOCK;
      data.push(frames.subarray(skip, skip + count * BLOCK));
    }
    if (this.#stopped || this.#options.appender.failure !== undefined) return;
    this.#options.appender.append((batch) => {
      for (const [i, { object, lba, block }] of runs.entries())
        batch.copy(lba, data[i]!, { ...object.place!, block });
    });
    await this.#options.appender.flush();
  }
}
