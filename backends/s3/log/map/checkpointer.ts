import type { Logger } from '../../../../core/plugin.ts';
import { MAX_DELETE_KEYS, type ObjectStore } from '../../store/object-store.ts';
import type { Appender } from '../appender.ts';
import { checkpointStep } from '../collection/collection-policy.ts';
import type { LogSpace } from '../collection/log-space.ts';
import type { Pace } from '../collection/pace.ts';
import { FencedError } from '../fenced.ts';
import {
  type CheckpointRef,
  type Head,
  type HeadFile,
  type Point,
  refuseTaken,
  type Snapshot,
} from '../head.ts';
import type { LogObject } from '../log-object.ts';
import { isUpTo, type LogNames, type LogPosition } from '../names.ts';
import { divide, withinBounds } from '../points/held.ts';
import { spacing, withPoint } from '../points/policy.ts';
import { Condemnation, MOST_CONDEMNED, type Plan } from './condemnation.ts';
import type { Pins } from './needs.ts';
import type { StoredMap } from './stored-map.ts';

export interface CheckpointerOptions {
  readonly store: ObjectStore;
  readonly names: LogNames;
  readonly stored: StoredMap;
  readonly head: HeadFile;
  readonly appender: Appender;
  readonly epoch: number;
  /** What snapshots need. */
  readonly pins: Pins;
  /** Objects after which the next checkpoint is due. */
  readonly every: number;
  /** Less garbage than this is not worth one. Blocks. */
  readonly muchGarbage: number;
  /** What the log may occupy for each block in use. */
  readonly spaceTarget: number;
  readonly space: LogSpace;
  readonly pace: Pace;
  /** For how long points are kept; 0: not at all. Undefined: those that there are stay. Milliseconds. */
  readonly retention: number | undefined;
  /** The time of day. */
  readonly clock: () => number;
  readonly logger: Logger;
  /** One was written, and all objects are known. */
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
  #garbageLimit = 0;
  /** After one that failed: so much of `#debt` is waited for. */
  #notBefore = 0;
  #running: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();
  /** Keys that were condemned and are not known to be gone. */
  readonly #remaining = new Set<string>();
  #deleting: Promise<void> | undefined;
  readonly #condemnation: Condemnation;
  /** What is durable becomes a point, also when nothing follows. */
  #nextPoint: NodeJS.Timeout | undefined;
  #stopped = false;

  /** @param debt objects that were replayed. */
  constructor(options: CheckpointerOptions, debt: number) {
    this.#options = options;
    this.#condemnation = new Condemnation(options);
    this.#debt = debt;
    this.#limitGarbage();
    // Those of the writer before us that were condemned, and may still be there.
    if (options.head.content.condemned.length > 0) this.#delete(options.head.content.condemned, []);
    this.#awaitPoint();
    const { held = [], points = [] } = options.head.content;
    if (options.retention !== undefined && divide(options.names, held, points).free.length > 0) this.hurry();
  }

  get debt(): number {
    return this.#debt;
  }

  /** An object became durable. */
  durable(object: LogObject): void {
    const { space } = this.#options;
    this.#debt++;
    space.added(object);
    const isDue =
      this.#debt >= this.#options.every ||
      space.garbage >= this.#garbageLimit ||
      this.#options.stored.map.isCrowded;
    if (isDue && this.#debt >= this.#notBefore) this.hurry();
    this.#awaitPoint();
  }

  /** There is something that is in no checkpoint: it will be in one before long. */
  #awaitPoint(): void {
    const { retention = 0 } = this.#options;
    if (retention === 0 || this.#debt === 0 || this.#nextPoint !== undefined || this.#stopped) return;
    this.#nextPoint = setTimeout(() => {
      this.#nextPoint = undefined;
      this.hurry();
    }, spacing(retention));
    this.#nextPoint.unref?.();
  }

  /** One is made now, unless that is over. */
  hurry(): void {
    if (!this.#stopped) void this.run().catch(() => undefined);
  }

  /** Not again for what the last checkpoint could not free: a snapshot may need it. */
  #limitGarbage(): void {
    const { muchGarbage, spaceTarget, space } = this.#options;
    this.#garbageLimit = space.garbage + Math.max(muchGarbage, space.used * checkpointStep(spaceTarget));
  }

  /** Makes a checkpoint of what is durable now. Those who ask while one is being made get that. */
  run(): Promise<void> {
    this.#running ??= this.#alone(async () => {
      const { stored, pins, head } = this.#options;
      await stored.knowObjects();
      await pins.learn(head.content.snapshots.map(({ checkpoint }) => checkpoint));
      await stored.prepare();
      const dead = this.#dead();
      const isAll = await this.#write(dead);
      if (isAll && dead.isAll) return;
      void this.#deleting?.then(() => this.hurry());
    }).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** As `run`; settles when what it condemned is deleted, as far as the store does that. */
  async free(): Promise<void> {
    await this.run();
    await this.#deleting;
  }

  /** A checkpoint that stays. It frees nothing: for that, all objects would have to be known. */
  async snapshot(name: string, createdAt: string): Promise<Snapshot> {
    let snapshot: Snapshot | undefined;
    await this.#alone(async () => {
      await this.#options.stored.prepare(0);
      await this.#write(undefined, (head, checkpoint) => {
        // Once more, in the very step that adds it: there may have been another one on its way.
        refuseTaken(head, name);
        snapshot = { name, createdAt, size: head.size, checkpoint };
        return { snapshots: [...head.snapshots, snapshot] };
      });
    });
    return snapshot!;
  }

  /** A point gets a name, and is a snapshot as well. `find` says which. */
  async keep(name: string, find: (head: Head) => Point): Promise<Snapshot> {
    const { head, appender } = this.#options;
    let snapshot: Snapshot | undefined;
    const keep = async (): Promise<boolean> =>
      await head.change((current) => {
        refuseTaken(current, name);
        const { at, size, checkpoint } = find(current);
        snapshot = { name, createdAt: at, size, checkpoint };
        return { snapshots: [...current.snapshots, snapshot] };
      });
    // Not while a checkpoint is being made that does not know of it. When it fails, no checkpoint has.
    const kept = this.#last.then(keep);
    this.#last = kept.then(
      () => undefined,
      () => undefined,
    );
    if (!(await kept)) throw lost(appender);
    return snapshot!;
  }

  /** Where points are kept, what the volume is when it is closed is one. */
  async close(): Promise<void> {
    const { retention = 0, stored } = this.#options;
    if (retention === 0 || this.#debt === 0) return;
    await this.#alone(async () => {
      await stored.prepare(0);
      await this.#write(undefined);
    });
  }

  /** One after another. */
  #alone(write: () => Promise<void>): Promise<void> {
    const next = this.#options.pace.during(this.#last.then(write));
    this.#last = next.catch((error: unknown) => {
      this.#notBefore = this.#debt + Math.ceil(this.#options.every / 4);
      this.#options.logger.warn('a checkpoint could not be written; the next one will be', {
        reason: String(error),
      });
    });
    return next;
  }

  /** No other begins; settles when nothing is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#nextPoint);
    await this.#last;
    await this.#deleting;
  }

  /** @param dead objects without which it goes on; undefined: everything stays. False: there is more that could go. */
  async #write(
    dead: Dead | undefined,
    also?: (head: Head, ref: CheckpointRef) => Partial<Head>,
  ): Promise<boolean> {
    const { store, names, stored, pins, head, appender, epoch } = this.#options;
    // All in one step: the map goes on.
    const { place, hash } = appender.durable;
    const debt = this.#debt;
    const number = ++this.#number;
    const time = new Date(this.#options.clock()).toISOString();
    const cut = stored.cut({
      epoch,
      number,
      at: place,
      removed: dead === undefined ? [] : [...dead.ours, ...dead.kept],
      isDurable: (object) => isDurable(object, place),
      pinned: dead && pins.checkpoints,
    });
    const ref: CheckpointRef = {
      key: names.checkpoint(epoch, number),
      root: cut.rootBytes,
      at: place,
      hash: hash.toString('hex'),
    };
    try {
      await store.put(ref.key, cut.body, { condition: 'absent' });
      await this.#deleting;
      let plan: Plan | undefined;
      const isOurs = await head.change((current) => {
        const changed = also?.(current, ref);
        const points = this.#pointsWith(current, { at: time, size: current.size, checkpoint: ref });
        plan = this.#condemnation.plan({ ...current, points }, dead?.ours, cut, ref);
        const { condemned, held } = plan;
        return {
          ...changed,
          checkpoint: ref,
          epochs: [{ epoch }],
          ...((points.length > 0 || current.points !== undefined) && { points }),
          ...((held.length > 0 || current.held !== undefined) && { held }),
          condemned: [...this.#remaining, ...condemned],
        };
      });
      if (!isOurs) throw lost(appender);
      this.#debt -= debt;
      this.#notBefore = 0;
      this.#condemnation.done();
      clearTimeout(this.#nextPoint);
      this.#nextPoint = undefined;
      this.#awaitPoint();
      cut.done();
      const { condemned, isAll } = plan!;
      this.#delete(condemned, dead === undefined ? [] : [...dead.ours, ...dead.kept]);
      this.#limitGarbage();
      this.#judge(dead);
      if (dead !== undefined) this.#options.onWritten();
      return isAll;
    } catch (error) {
      cut.failed();
      throw error;
    }
  }

  /** The points of the volume, when this is the newest. */
  #pointsWith({ points = [], held = [] }: Head, point: Point): Point[] {
    const { names, retention, logger } = this.#options;
    if (retention === undefined) return points;
    if (retention === 0) return [];
    const all = withPoint(points, point, retention);
    const some = withinBounds(names, held, all);
    if (some.length < all.length)
      logger.warn('points are given up before their time: they hold too many objects', {
        oldest: some[0]!.at,
      });
    return [...some];
  }

  /** Objects that no block comes from. */
  #dead(): Dead {
    const { stored, appender } = this.#options;
    const { place } = appender.durable;
    const dead = { ours: [] as LogObject[], kept: [] as LogObject[], isAll: true };
    for (const object of stored.table.values()) {
      if (object.live !== 0 || object.readers !== 0 || !isDurable(object, place)) continue;
      if (!this.#isOurs(object)) dead.kept.push(object);
      else if (dead.ours.length < MOST_CONDEMNED) dead.ours.push(object);
      else dead.isAll = false;
    }
    return dead;
  }

  #isOurs({ names, place }: LogObject): boolean {
    const { names: ours, pins } = this.#options;
    return names.root === ours.root && !pins.objects.has(names.object(place!));
  }

  /** What of the garbage a collection may free. Only a checkpoint for which all was looked at knows that. */
  #judge(dead: Dead | undefined): void {
    if (dead === undefined) return;
    const { space, pace } = this.#options;
    space.judge((object) => this.#isOurs(object));
    pace.judged();
  }

  #delete(keys: readonly string[], objects: readonly LogObject[]): void {
    const { store, stored, space, pace, logger } = this.#options;
    // From here on no copy counts that comes from them, and no read finds them.
    let [freed, deleting] = [0, 0];
    for (const object of objects) {
      stored.table.remove(object);
      freed += space.removed(object);
      deleting += object.blocks;
    }
    space.deleting = deleting;
    pace.freed(freed);
    for (const key of keys) this.#remaining.add(key);
    const all = [...this.#remaining];
    const work = async (): Promise<void> => {
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
      } finally {
        space.deleting = 0;
      }
    };
    this.#deleting = pace.during(work());
  }
}

/** The volume is somebody else's. */
function lost(appender: Appender): FencedError {
  const reason = new FencedError('head');
  appender.stop(reason);
  return reason;
}

interface Dead {
  /** Of this volume, and in no snapshot. */
  readonly ours: readonly LogObject[];
  /** Somebody else needs them, or may. */
  readonly kept: readonly LogObject[];
  /** There are no more. */
  readonly isAll: boolean;
}

const isDurable = ({ place }: LogObject, last: LogPosition): boolean =>
  place !== undefined && isUpTo(place, last);
