/** A source of numbers in [0, 1) that repeats itself: mulberry32. */
export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A process of the simulated world; `undefined` where the network or the store does something. */
export interface Actor {
  readonly name: string;
  alive: boolean;
  /** Nothing of it happens before. Milliseconds of the world. */
  pausedUntil: number;
}

interface Event {
  at: number;
  readonly order: number;
  readonly actor: Actor | undefined;
  readonly run: () => void;
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  random: Math.random,
  now: performance.now,
};

/**
 * Time, chance and timers of a simulation, in place of the real ones until disposal. One event happens at a time, and
 * everything that follows from it without waiting, so that a run depends on its seed alone.
 */
export class World implements Disposable {
  readonly random: () => number;
  #now = 0;
  #order = 0;
  /** A binary heap by time and order. */
  readonly #events: Event[] = [];
  readonly #cancelled = new Set<number>();
  #actor: Actor | undefined;

  constructor(seed: number) {
    this.random = randomFrom(seed);
    const set = (run: () => void, ms = 0): number => this.after(ms, this.#actor, run);
    const clear = (id: number | undefined): void => void (id !== undefined && this.#cancelled.add(id));
    Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
    performance.now = () => this.#now;
    Math.random = this.random;
  }

  get now(): number {
    return this.#now;
  }

  /** A whole number in [0, below). */
  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  after(ms: number, actor: Actor | undefined, run: () => void): number {
    const event = { at: this.#now + Math.max(0, ms), order: ++this.#order, actor, run };
    this.#push(event);
    return event.order;
  }

  /** Calls `run` as a part of `actor`, and everything that follows from it. */
  async as<T>(actor: Actor, run: () => T): Promise<T> {
    this.#actor = actor;
    const result = run();
    await drained();
    this.#actor = undefined;
    return result;
  }

  /** The next event. False: there is none. */
  async step(): Promise<boolean> {
    for (;;) {
      const event = this.#pop();
      if (event === undefined) return false;
      if (this.#cancelled.delete(event.order)) continue;
      const { actor } = event;
      if (actor !== undefined && !actor.alive) continue;
      if (actor !== undefined && actor.pausedUntil > event.at) {
        event.at = actor.pausedUntil;
        this.#push(event);
        continue;
      }
      this.#now = Math.max(this.#now, event.at);
      this.#actor = actor;
      event.run();
      await drained();
      this.#actor = undefined;
      return true;
    }
  }

  async run(ms: number): Promise<void> {
    const end = this.#now + ms;
    while (this.#events.length > 0 && this.#events[0]!.at <= end) await this.step();
    this.#now = Math.max(this.#now, end);
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
    performance.now = real.now;
    Math.random = real.random;
  }

  #push(event: Event): void {
    const heap = this.#events;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#events;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

const before = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

/**
 * Everything that waits for nothing but promises has happened: Node.js looks at this queue when no promise is left to go on
 * with. A turn of the event loop would do as well, and takes as long as all the rest.
 */
const drained = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));
