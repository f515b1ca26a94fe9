import { describe, expect, it } from 'vitest';
import type { ChunkDevice } from '../../../../backends/s3/chunk/device.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { type FakeBucket, type FakeFaults, FakeStore } from '../fake-store.ts';
import { config, newVolume, openDevice, pattern, readAll } from '../harness.ts';

const SECTOR = 512;
const CHUNK = 64 * 1024;
const SIZE = 9 * CHUNK + 8 * SECTOR;
const SECTORS = SIZE / SECTOR;

/** A write by its tag, or zeros (0). One object per request: zeros come more than once. */
interface Change {
  readonly tag: number;
}

/**
 * What a sector may hold. `durable` is what the last flush covered; `pending` what was written since, in order; after
 * a crash it holds one of them. 0 stands for zeros.
 */
class Oracle {
  readonly durable = new Uint32Array(SECTORS);
  readonly pending: Change[][] = Array.from({ length: SECTORS }, () => []);
  readonly busy = new Uint8Array(SECTORS);

  current(sector: number): number {
    return this.pending[sector]!.at(-1)?.tag ?? this.durable[sector]!;
  }

  change(first: number, count: number, tag: number): void {
    const change = { tag };
    for (let sector = first; sector < first + count; sector++) this.pending[sector]!.push(change);
  }

  /** A flush begins: returns what to do when it succeeds. */
  flushing(): () => void {
    const covered = this.pending.map((tags, sector) => (this.busy[sector] ? tags.length - 1 : tags.length));
    const changes = covered.map((count, sector) => this.pending[sector]![count - 1]);
    return () => {
      for (const [sector, change] of changes.entries()) {
        const at = change === undefined ? -1 : this.pending[sector]!.indexOf(change);
        if (at < 0) continue;
        this.durable[sector] = change!.tag;
        this.pending[sector]!.splice(0, at + 1);
      }
    };
  }

  /** After a crash: every sector is whole and one of those allowed; from now on it is durable. */
  accept(content: Uint8Array): void {
    const words = new Uint32Array(content.buffer, content.byteOffset, content.length / 4);
    for (let sector = 0; sector < SECTORS; sector++) {
      const start = (sector * SECTOR) / 4;
      const tag = words[start]!;
      const torn = words.subarray(start, start + SECTOR / 4).some((word) => word !== tag);
      const allowed = [this.durable[sector]!, ...this.pending[sector]!.map((change) => change.tag)];
      if (torn || !allowed.includes(tag)) {
        expect.fail(`sector ${sector} holds ${tag}${torn ? ' (torn)' : ''}, allowed: ${allowed.join(', ')}`);
      }
      this.durable[sector] = tag;
      this.pending[sector] = [];
    }
  }
}

/** Random requests, many at once, until the budget is used up. Returns with some of them possibly in flight. */
class Guest {
  readonly #device: ChunkDevice;
  readonly #oracle: Oracle;
  readonly #random: () => number;
  readonly #tag: () => number;
  readonly running = new Set<Promise<void>>();

  constructor(device: ChunkDevice, oracle: Oracle, random: () => number, tag: () => number) {
    this.#device = device;
    this.#oracle = oracle;
    this.#random = random;
    this.#tag = tag;
  }

  async run(requests: number): Promise<void> {
    for (let i = 0; i < requests; i++) {
      this.#start();
      while (this.running.size > 8) await Promise.race(this.running);
      if (this.#random() < 0.1) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #start(): void {
    const kind = this.#random();
    const range = this.#freeRange();
    if (range === undefined) return;
    const { first, count } = range;
    if (kind < 0.06) this.#track(this.#flush());
    else if (kind < 0.55) this.#track(this.#write(first, count));
    else if (kind < 0.63) this.#track(this.#zero(first, count));
    else if (kind < 0.7) this.#discard(first, count);
    else this.#track(this.#read(first, count));
  }

  /** A range that no request in flight touches: overlapping requests have no defined order. */
  #freeRange(): { first: number; count: number } | undefined {
    const sizes = [1, 2, 8, 64, 128, 200, 300];
    const count = sizes[Math.floor(this.#random() * sizes.length)]!;
    let first = Math.floor(this.#random() * (SECTORS - count + 1));
    if (this.#random() < 0.3) first -= first % 128;
    const busy = this.#oracle.busy.subarray(first, first + count);
    return busy.some((bit) => bit !== 0) ? undefined : { first, count };
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.running.delete(tracked));
    this.running.add(tracked);
    tracked.catch(() => {});
  }

  async #write(first: number, count: number): Promise<void> {
    const tag = this.#tag();
    const data = pattern(count * SECTOR, tag);
    const cut = SECTOR * Math.floor(this.#random() * count);
    this.#oracle.busy.fill(1, first, first + count);
    this.#oracle.change(first, count, tag);
    await this.#device.write(first * SECTOR, [data.subarray(0, cut), data.subarray(cut)]);
    data.fill(0xdd);
    this.#oracle.busy.fill(0, first, first + count);
  }

  async #zero(first: number, count: number): Promise<void> {
    this.#oracle.busy.fill(1, first, first + count);
    this.#oracle.change(first, count, 0);
    await this.#device.writeZeroes(first * SECTOR, count * SECTOR);
    this.#oracle.busy.fill(0, first, first + count);
  }

  #discard(first: number, count: number): void {
    const perChunk = CHUNK / SECTOR;
    const from = Math.ceil(first / perChunk) * perChunk;
    const end = first + count;
    const to = end === SECTORS ? end : end - (end % perChunk);
    if (from < to) this.#oracle.change(from, to - from, 0);
    this.#device.discard(first * SECTOR, count * SECTOR);
  }

  async #flush(): Promise<void> {
    const succeeded = this.#oracle.flushing();
    await this.#device.flush();
    succeeded();
  }

  async #read(first: number, count: number): Promise<void> {
    const expected = Array.from({ length: count }, (_, i) => this.#oracle.current(first + i));
    this.#oracle.busy.fill(1, first, first + count);
    const content = await readAll(this.#device, first * SECTOR, count * SECTOR);
    this.#oracle.busy.fill(0, first, first + count);
    const words = new Uint32Array(content.buffer);
    for (let i = 0; i < words.length; i++) {
      const sector = Math.floor((i * 4) / SECTOR);
      if (words[i] !== expected[sector]) {
        expect.fail(`sector ${first + sector} reads ${words[i]}, written was ${expected[sector]}`);
      }
    }
  }
}

interface Trial {
  readonly seed: number;
  readonly faults: FakeFaults;
  readonly lives: number;
  readonly writeBuffer: number;
  readonly readCache: number;
}

/** Several lives of one volume, each ending in a crash at a random moment. */
async function live({ seed, faults, lives, writeBuffer, readCache }: Trial): Promise<FakeBucket> {
  const random = seededRandom(seed);
  const { bucket } = await newVolume(SIZE);
  const settings = config({ writeBuffer, readCache, maxRequests: 4 });
  const oracle = new Oracle();
  let tags = 0;
  for (let life = 0; life < lives; life++) {
    const store = new FakeStore(bucket, random);
    const device = await openDevice(store, settings, { takeOver: true });
    store.faults = faults;
    oracle.accept(await readAll(device, 0, SIZE));
    const guest = new Guest(device, oracle, random, () => ++tags);
    await guest.run(20 + Math.floor(random() * 200));
    store.kill();
    await Promise.allSettled(guest.running);
    await device[Symbol.asyncDispose]();
    oracle.busy.fill(0);
  }
  return bucket;
}

const FAULTS: FakeFaults = { throttled: 0.05, unreachable: 0.05, lostResponse: 0.05, latePut: 0.03 };

describe('a volume after a crash', () => {
  const first = Number(process.env['BLOCKGATE_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  const trials = Number(process.env['BLOCKGATE_TEST_TRIALS'] ?? 6);

  it.each(Array.from({ length: trials }, (_, i) => first + i))(
    'holds all that was flushed, and of the rest each sector old or new (seed %i)',
    async (seed) => {
      await live({ seed, faults: {}, lives: 5, writeBuffer: 4 * CHUNK, readCache: 2 * CHUNK });
    },
  );

  it.each(Array.from({ length: trials }, (_, i) => first + i))(
    'does so when requests fail, answers are lost and writes arrive late (seed %i)',
    async (seed) => {
      await live({ seed, faults: FAULTS, lives: 5, writeBuffer: 6 * CHUNK, readCache: CHUNK });
    },
  );
});
