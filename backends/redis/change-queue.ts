// hot path: see ARCHITECTURE.md "Data plane"

import type { Change } from './change.ts';
import type { ChangeBatch } from './change-batch.ts';
import type { KeySpace } from './keys.ts';

/**
 * One batch keeps the server from everything else: no longer than this takes. In a connection one is under way, so that over
 * a long way it has to be many. Changes, and bytes.
 */
const MAX_CHANGES = 128;
const MAX_BYTES = 512 * 1024;
/** Fewer are not worth being divided among connections. */
const FEW = 8;
/** So far behind changes that have to wait it is looked for others. */
const MAX_PASSED = 256;

/**
 * Changes that leave next, and which connection is to carry them. Those of a chunk that are under way at the same time are
 * on the same connection, and one connection's answers come in the order in which the server carries out: so the order of
 * answers is that of the server wherever two changes touch the same bytes.
 */
export class ChangeQueue {
  readonly #keys: KeySpace;
  /** In each connection one batch is under way; 0: one connection, which takes all there are. */
  readonly #lanes: number;
  readonly #isBusy: boolean[];
  #queue: Change[] = [];
  /** Chunks of changes that are under way. */
  readonly #busy = new Set<number>();

  constructor(keys: KeySpace, lanes: number) {
    this.#keys = keys;
    this.#lanes = lanes;
    this.#isBusy = Array.from({ length: lanes }, () => false);
  }

  get length(): number {
    return this.#queue.length;
  }

  add(change: Change): void {
    this.#queue.push(change);
  }

  /** All that have not left. */
  clear(): Change[] {
    const queue = this.#queue;
    this.#queue = [];
    return queue;
  }

  /** What can leave now. It is under way until `over`. */
  next(): ChangeBatch | undefined {
    if (this.#queue.length === 0) return undefined;
    if (this.#lanes === 0) return this.#take(0, MAX_CHANGES);
    const lane = this.#isBusy.indexOf(false);
    if (lane < 0) return undefined;
    const free = this.#isBusy.reduce((count, isBusy) => count + (isBusy ? 0 : 1), 0);
    return this.#take(lane, Math.min(MAX_CHANGES, Math.max(FEW, Math.ceil(this.#queue.length / free))));
  }

  over({ lane, changes }: ChangeBatch): void {
    if (this.#lanes === 0) return;
    this.#isBusy[lane] = false;
    for (const { chunk } of changes) this.#busy.delete(chunk);
  }

  /** The oldest that can leave, and with it others of its shard. None overtakes another of the same chunk. */
  #take(lane: number, most: number): ChangeBatch | undefined {
    const queue = this.#queue;
    const changes: Change[] = [];
    let rest: Change[] | undefined;
    let shard = -1;
    let bytes = 0;
    let at = 0;
    for (; at < queue.length && changes.length < most && (rest?.length ?? 0) < MAX_PASSED; at++) {
      const change = queue[at]!;
      const itsShard = this.#keys.shardOf(change.chunk);
      if (this.#busy.has(change.chunk) || (shard >= 0 && itsShard !== shard)) {
        rest ??= [];
        rest.push(change);
        continue;
      }
      // The server makes the zeros.
      const size = change.weight + (change.kind === 'z' ? change.length : 0);
      if (changes.length > 0 && bytes + size > MAX_BYTES) break;
      shard = itsShard;
      bytes += size;
      changes.push(change);
    }
    if (changes.length === 0) return undefined;
    const later = at === queue.length ? [] : queue.slice(at);
    this.#queue = rest === undefined ? later : [...rest, ...later];
    if (this.#lanes > 0) {
      this.#isBusy[lane] = true;
      for (const { chunk } of changes) this.#busy.add(chunk);
    }
    return { lane, shard, changes };
  }
}
