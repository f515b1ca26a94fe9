import type { CheckpointRef, Head, Held, Point } from '../head.ts';
import type { LogObject } from '../log-object.ts';
import type { LogNames } from '../names.ts';
import { divide, fatesBy, hold, keysOf, type Unneeded } from '../points/held.ts';
import type { Pins } from './needs.ts';
import type { Cut, StoredMap } from './stored-map.ts';

/** Objects that one checkpoint condemns at most: their names are in the head. */
export const MOST_CONDEMNED = 10_000;

/** What of the head follows from what a checkpoint does not need. */
export interface Plan {
  /** Keys. */
  readonly condemned: string[];
  readonly held: Held[];
  /** Nothing else could be condemned. */
  readonly isAll: boolean;
}

/** Says what becomes of what nothing refers to once a checkpoint counts: what only points need is held until they are gone. */
export class Condemnation {
  readonly #names: LogNames;
  readonly #stored: StoredMap;
  readonly #pins: Pins;
  /** What a change of the head that failed would have freed: it may have come to pass. */
  readonly #freed = new Set<string>();

  constructor({
    names,
    stored,
    pins,
  }: {
    readonly names: LogNames;
    readonly stored: StoredMap;
    readonly pins: Pins;
  }) {
    this.#names = names;
    this.#stored = stored;
    this.#pins = pins;
  }

  /** @param dead objects without which it goes on; undefined: not known, and nothing that was held becomes free. */
  plan(
    { snapshots, checkpoint, points = [], held = [] }: Head,
    dead: readonly LogObject[] | undefined,
    cut: Cut,
    ref: CheckpointRef,
  ): Plan {
    const [names, pins] = [this.#names, this.#pins];
    // A snapshot that was given up may have come to pass.
    if (!snapshots.every((snapshot) => pins.knows(snapshot.checkpoint)))
      return { condemned: [], held, isAll: true };
    const unneeded: Unneeded[] = (dead ?? []).map((object) => ({
      key: names.object(object.place!),
      bytes: object.stored,
    }));
    for (const key of cut.condemned) unneeded.push({ key, bytes: 0 });
    // A checkpoint that was given up may have come to pass, too.
    if (checkpoint !== null && checkpoint.key !== ref.key && !cut.knows(checkpoint.key)) {
      const isOurs = checkpoint.key.startsWith(names.root);
      if (isOurs && !pins.checkpoints.has(checkpoint.key)) unneeded.push({ key: checkpoint.key, bytes: 0 });
    }
    const others = points.filter((point) => point.checkpoint.key !== ref.key);
    const fates = unneeded.map(fatesBy(names, others));
    const condemned = fates.filter(({ until }) => until === undefined).map(({ key }) => key);
    const now = [...hold(names, held, fates)];
    // Without all objects it is not known which of them the disk has again, as after going back to a point.
    return dead === undefined
      ? { condemned, held: now, isAll: true }
      : this.#free(now, others, condemned, cut);
  }

  /** The change of the head has come to pass. */
  done(): void {
    this.#freed.clear();
  }

  /** With what points held that are gone. What the disk or a snapshot has again is theirs. */
  #free(held: readonly Held[], points: readonly Point[], condemned: readonly string[], cut: Cut): Plan {
    const [names, pins] = [this.#names, this.#pins];
    const { held: needed, free } = divide(names, held, points);
    const isNeeded = (key: string): boolean => {
      const place = names.positionOf(key);
      if (place !== undefined)
        return pins.objects.has(key) || this.#stored.table.find(names, place) !== undefined;
      return pins.checkpoints.has(key) || cut.knows(key);
    };
    const all = [...condemned];
    const left = [...needed];
    // It has come to pass that they are condemned, and whoever has asked for it does not know.
    if (this.#freed.size > 0) {
      const there = new Set(keysOf(names, held));
      for (const key of this.#freed) if (!there.has(key)) all.push(key);
    }
    for (const group of free) {
      if (all.length > 0 && all.length + group.objects > MOST_CONDEMNED) {
        left.push(group);
        continue;
      }
      for (const key of keysOf(names, [group])) {
        if (isNeeded(key)) continue;
        all.push(key);
        this.#freed.add(key);
      }
    }
    return { condemned: all, held: left, isAll: left.length === needed.length };
  }
}
