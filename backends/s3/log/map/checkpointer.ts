import type { Logger } from '../../../../core/plugin.ts';
import { MAX_DELETE_KEYS, type ObjectStore } from '../../store/object-store.ts';
import type { Appender } from '../appender.ts';
import { checkpointStep } from '../collection/collection-policy.ts';
import type { VolumeKey } from '../encryption/volume-key.ts';
import { FencedError } from '../fenced.ts';
import { type CheckpointRef, type Head, type HeadFile, refuseTaken, type Snapshot } from '../head.ts';
import type { LogObject, ObjectTable } from '../log-object.ts';
import type { LogNames } from '../names.ts';
import type { BlockMap } from './block-map.ts';
import { encodeCheckpoint } from './checkpoint.ts';

export interface CheckpointerOptions {
  readonly store: ObjectStore;
  readonly names: LogNames;
  /** Of a volume that is encrypted. */
  readonly key: VolumeKey | undefined;
  readonly table: ObjectTable;
  readonly map: BlockMap;
  readonly head: HeadFile;
  readonly appender: Appender;
  readonly epoch: number;
  /** Objects of the log that a snapshot needs, by key. */
  readonly pinned: ReadonlySet<string>;
  /** Objects after which the next checkpoint is due. */
  readonly every: number;
  /** Less garbage than this is not worth one. Blocks. */
  readonly muchGarbage: number;
  /** What the log may occupy for each block in use. */
  readonly spaceTarget: number;
  readonly logger: Logger;
  /** One was written. */
  readonly onWritten: () => void;
}

/**
 * Writes the map from time to time, so that a recovery has little to replay, and deletes what nothing refers to any more.
 * An object is condemned by the very change of the head that makes a checkpoint count in which it is dead; only then is it
 * deleted, so that a writer that lost the volume deletes nothing that its successor does not know of.
 */
export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #number = 0;
  /** Objects that became durable since the last one. */
  #debt: number;
  /** Blocks of the objects in the table that are durable. */
  #stored = 0;
  #garbageLimit = 0;
  #running: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();
  /** Keys that were condemned and are not known to be gone. */
  readonly #remaining = new Set<string>();
  #deleting: Promise<void> | undefined;
  #stopped = false;

  /** @param debt objects that were replayed. */
  constructor(options: CheckpointerOptions, debt: number) {
    this.#options = options;
    this.#debt = debt;
    for (const { blocks } of options.table.values()) this.#stored += blocks;
    this.#limitGarbage();
    // Those of the writer before us that were condemned, and may still be there.
    if (options.head.content.condemned.length > 0) this.#delete(options.head.content.condemned, []);
  }

  get debt(): number {
    return this.#debt;
  }

  /** An object became durable. */
  durable({ blocks }: LogObject): void {
    this.#debt++;
    this.#stored += blocks;
    const isDue = this.#debt >= this.#options.every || this.#garbage >= this.#garbageLimit;
    if (isDue && !this.#stopped) void this.run().catch(() => undefined);
  }

  /** Blocks in the log that nothing refers to. */
  get #garbage(): number {
    return this.#stored - this.#options.map.used;
  }

  /** Not again for what the last checkpoint could not free: a snapshot may need it. */
  #limitGarbage(): void {
    const { muchGarbage, spaceTarget, map } = this.#options;
    this.#garbageLimit = this.#garbage + Math.max(muchGarbage, map.used * checkpointStep(spaceTarget));
  }

  /** Makes a checkpoint of what is durable now. Those who ask while one is being made get that. */
  run(): Promise<void> {
    this.#running ??= this.#alone(() => this.#write(() => undefined)).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** A checkpoint that stays: `keep` is called at its very moment. */
  async snapshot(name: string, createdAt: string, keep: () => void): Promise<Snapshot> {
    let snapshot: Snapshot | undefined;
    await this.#alone(async () => {
      await this.#write((head, checkpoint) => {
        // Once more, in the very step that adds it: there may have been another one on its way.
        refuseTaken(head, name);
        snapshot = { name, createdAt, size: head.size, checkpoint };
        return { snapshots: [...head.snapshots, snapshot] };
      }, keep);
    });
    return snapshot!;
  }

  /** One after another. */
  #alone(write: () => Promise<void>): Promise<void> {
    const next = this.#last.then(write);
    this.#last = next.catch(() => undefined);
    return next;
  }

  /** No other begins; settles when nothing is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#last;
    await this.#deleting;
  }

  async #write(
    also: (head: Head, ref: CheckpointRef) => Partial<Head> | undefined,
    keep?: () => void,
  ): Promise<void> {
    const { store, names, key, table, map, head, appender, epoch, logger } = this.#options;
    const { place, hash } = appender.durable;
    const debt = this.#debt;
    // All in one step: the map goes on.
    keep?.();
    const name = names.checkpoint(epoch, ++this.#number);
    const body = encodeCheckpoint(map, table, place, { name, key });
    const dead = this.#dead();
    const ref: CheckpointRef = {
      key: name,
      at: place,
      hash: hash.toString('hex'),
    };
    try {
      await store.put(ref.key, body, { condition: 'absent' });
      await this.#deleting;
      let condemned: string[] = [];
      const isOurs = await head.change((current) => {
        const changed = also(current, ref);
        const kept = new Set(current.snapshots.map(({ checkpoint }) => checkpoint.key));
        const old = current.checkpoint;
        condemned = dead.map((object) => names.object(object.place!));
        if (old !== null && !kept.has(old.key) && old.key.startsWith(names.root)) condemned.push(old.key);
        return {
          ...changed,
          checkpoint: ref,
          epochs: [{ epoch }],
          condemned: [...this.#remaining, ...condemned],
        };
      });
      if (!isOurs) {
        const reason = new FencedError('head');
        appender.stop(reason);
        throw reason;
      }
      this.#debt -= debt;
      this.#delete(condemned, dead);
      this.#limitGarbage();
      this.#options.onWritten();
    } catch (error) {
      logger.warn('a checkpoint could not be written; the next one will be', { reason: String(error) });
      throw error;
    }
  }

  /** Durable objects of this volume that no block comes from, and that no snapshot has. */
  #dead(): LogObject[] {
    const { table, appender, names, pinned } = this.#options;
    const { durable } = appender;
    const isDurable = ({ place }: LogObject): boolean =>
      place !== undefined &&
      (place.epoch < durable.place.epoch ||
        (place.epoch === durable.place.epoch && place.seq <= durable.place.seq));
    return [...table.values()].filter(
      (object) =>
        object.live === 0 &&
        object.readers === 0 &&
        object.names.root === names.root &&
        isDurable(object) &&
        !pinned.has(names.object(object.place!)),
    );
  }

  #delete(keys: readonly string[], objects: readonly LogObject[]): void {
    const { store, table, logger } = this.#options;
    // From here on no copy counts that comes from them, and no read finds them.
    for (const object of objects) {
      table.remove(object);
      this.#stored -= object.blocks;
    }
    for (const key of keys) this.#remaining.add(key);
    const all = [...this.#remaining];
    this.#deleting = (async () => {
      try {
        for (let at = 0; at < all.length; at += MAX_DELETE_KEYS) {
          const some = all.slice(at, at + MAX_DELETE_KEYS);
          const failed = new Set((await store.deleteMany(some)).map(({ key }) => key));
          for (const key of some) if (!failed.has(key)) this.#remaining.delete(key);
        }
      } catch (error) {
        logger.debug('objects that are not needed any more could not be deleted yet', {
          reason: String(error),
        });
      }
    })();
  }
}
