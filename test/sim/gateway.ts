import { FrameCache } from '../../backends/s3/log/cache/frame-cache.ts';
import type { VolumeKey } from '../../backends/s3/log/encryption/volume-key.ts';
import type { Compression } from '../../backends/s3/log/frames/compression.ts';
import { FrameCodec } from '../../backends/s3/log/frames/frame-codec.ts';
import { type Point, readHead } from '../../backends/s3/log/head.ts';
import { LogNames } from '../../backends/s3/log/names.ts';
import { BLOCK } from '../../backends/s3/log/object-header.ts';
import { LogReader } from '../../backends/s3/log/reader.ts';
import { claimHead, openClaimed } from '../../backends/s3/log/take-volume.ts';
import { BackgroundFlatten } from '../../backends/s3/log/volume/background-flatten.ts';
import type { LogRecord } from '../../backends/s3/log/volume/volume-record.ts';
import type { LogWriter, WriterOptions } from '../../backends/s3/log/writer.ts';
import { S3_STANDARD } from '../../backends/s3/store/prices.ts';
import { RetryingStore, type RetryPolicy } from '../../backends/s3/store/retrying-store.ts';
import { isStoreError } from '../../backends/s3/store/store-error.ts';
import { StoreHealth } from '../../backends/s3/store/store-health.ts';
import { BlockError, GatewayError, type Logger, Semaphore } from '../../core/plugin.ts';
import { type Nemesis, type SimBucket, SimStore } from './store.ts';
import type { Actor, World } from './world.ts';
import { SimZstd } from './zstd.ts';

export const VOLUME = '01234567-89ab-cdef-0123-456789abcdef';
export const NAMES = new LogNames('disk');
export const DISK: SimVolume = { uuid: VOLUME, names: NAMES };

const silent: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silent,
} as unknown as Logger;

const STARTING: RetryPolicy = {
  baseMs: 100,
  maxMs: 2000,
  repairMaxMs: 0,
  waitForRepair: false,
  giveUpAfterMs: 60_000,
  attemptMs: 10_000,
};

/** What changed a run of blocks; `version` 0: they are zeros. */
interface Change {
  readonly lba: number;
  readonly blocks: number;
  readonly version: number;
}

export interface Tuning {
  /** What the guest calls block 0: its blocks lie in two pages of the map. */
  readonly first: number;
  readonly blocks: number;
  readonly checkpointEvery: number;
  readonly muchGarbage: number;
  readonly spaceTarget: number;
  /** Milliseconds. */
  readonly retention: number;
  readonly writeBuffer: number;
  readonly readCache: number;
  /** Memory for where frames are. Bytes. */
  readonly tables: number;
  readonly compression: Compression;
  readonly key: VolumeKey | undefined;
}

/** Which volume a gateway serves. */
export interface SimVolume {
  readonly uuid: string;
  readonly names: LogNames;
  /** A clone of this, which is made independent of it while it is in use. */
  readonly parent?: LogRecord['parent'];
}

/** What the disk held before a number of changes: a version for each block. */
export type Content = Int32Array;

/** A gateway with one disk, and its guest, who remembers everything. */
export class SimGateway {
  readonly actor: Actor;
  readonly #world: World;
  readonly #bucket: SimBucket;
  readonly #tuning: Tuning;
  readonly #volume: SimVolume;
  readonly #store: SimStore;
  readonly #life = new AbortController();
  readonly changes: Change[] = [];
  /** What was flushed, and how much was changed, when the volume was claimed, and when each checkpoint was begun. */
  readonly cuts: { readonly flushed: number; readonly changes: number }[] = [];
  /** What the guest believes its disk holds. */
  model: Content;
  /** When it was opened. */
  base: Content | undefined;
  epoch: number | undefined;
  /** Changes that an answered flush covers. */
  flushed = 0;
  /** Changes, from the first on, that were answered. */
  answered = 0;
  /** How many of the changes its successor found; unknown while there is none. */
  cut: number | undefined;
  writer: LogWriter | undefined;
  reader: LogReader | undefined;
  flatten: BackgroundFlatten | undefined;
  failed: string | undefined;
  #isClosing = false;
  /** Says what is wrong. */
  readonly report: (problem: string) => void;

  constructor(
    world: World,
    bucket: SimBucket,
    nemesis: Nemesis,
    tuning: Tuning,
    name: string,
    report: (problem: string) => void,
    volume: SimVolume = DISK,
  ) {
    this.#volume = volume;
    this.#world = world;
    this.#bucket = bucket;
    this.#tuning = tuning;
    this.actor = { name, alive: true, pausedUntil: 0 };
    this.#store = new SimStore(world, bucket, this.actor, nemesis);
    this.model = new Int32Array(tuning.blocks);
    this.report = (problem) => report(`${name}: ${problem}`);
  }

  get isOpen(): boolean {
    return this.base !== undefined && this.actor.alive && !this.#isClosing;
  }

  /** Takes the volume, and reads all of it. */
  async open(): Promise<void> {
    const { name } = this.actor;
    const nonce = Buffer.alloc(16);
    for (let i = 0; i < 16; i++) nonce[i] = this.#world.below(256);
    const slots = new Semaphore(16);
    const health = new StoreHealth(silent);
    const signal = this.#life.signal;
    const through = (policy: RetryPolicy) =>
      new RetryingStore(this.#store, { policy, slots, health, signal });
    const starting = through(STARTING);
    const running = through({ ...STARTING, giveUpAfterMs: undefined });
    const { names, uuid } = this.#volume;
    const codec = new FrameCodec(this.#tuning.compression, this.#tuning.key, {
      zstd: new SimZstd(this.#world),
    });
    const options: WriterOptions = {
      starting,
      running,
      names,
      volume: uuid,
      writer: {
        disk: name,
        since: '',
        process: { host: 'sim', pid: 1, bootId: '', pidNamespace: '', startTime: '' },
      },
      nonce,
      codec,
      writeBuffer: this.#tuning.writeBuffer,
      mapPages: 2,
      maxAgeMs: 2000,
      needsJournal: () => false,
      checkpointEvery: this.#tuning.checkpointEvery,
      muchGarbage: this.#tuning.muchGarbage,
      spaceTarget: this.#tuning.spaceTarget,
      prices: S3_STANDARD,
      retention: this.#tuning.retention,
      clock: () => this.#cut(),
      logger: silent,
      onFailed: (reason) => {
        this.failed = reason.message;
        this.#life.abort(reason);
      },
    };
    try {
      const stored = await readHead(starting, names);
      const file = await claimHead(options, stored!, { disk: name, logger: silent, takeOver: true });
      this.epoch = file.content.epoch;
      // Of attempts to claim it only the last counts.
      this.cuts.splice(0, this.cuts.length - 1);
      const frames = new FrameCache(running, codec, this.#tuning.readCache, { tables: this.#tuning.tables });
      const writer = await openClaimed(options, file, frames);
      const { map, table } = writer.recovered.stored;
      this.writer = writer;
      this.reader = new LogReader(map, writer.overlay, table, frames);
      const content = await this.readAll();
      this.model = content.slice();
      this.base = content;
      if (this.#bucket.conditions !== 'kept') this.report('was opened where conditions mean nothing');
      if (this.#volume.parent !== undefined) this.#flattenWith(starting, frames, () => slots.waiting > 0);
    } catch (error) {
      this.failed = String(error);
      if (/damaged|corrupt|missing/.test(this.failed)) {
        // A zombie that opens may find that its successor has deleted what it wants to read. And a volume may be refused
        // that has what came of an upload that broke off.
        const isRefused = this.writer === undefined && this.#bucket.keptParts;
        if (!this.isSuperseded() && !isRefused)
          this.report(`cannot be opened: ${this.failed} ${(error as { why?: string }).why ?? ''}`);
      }
    }
  }

  #flattenWith(store: RetryingStore, frames: FrameCache, isBusy: () => boolean): void {
    const { names, uuid, parent } = this.#volume;
    const { writeBuffer, key } = this.#tuning;
    this.flatten = new BackgroundFlatten({
      writer: this.writer!,
      source: { store, names, key },
      record: { uuid, parent },
      config: { writeBuffer, mapCache: 0 },
      ...{ frames, isBusy, logger: silent, again: { baseMs: 1000, maxMs: 10_000 } },
    });
  }

  #cut(): number {
    this.cuts.push({ flushed: this.flushed, changes: this.changes.length });
    return this.#world.now;
  }

  /** Set by the scenario: another gateway has claimed a later epoch. */
  isSuperseded: () => boolean = () => false;

  /** A version for each block; reports blocks that hold something else. */
  async readAll(lba = 0, blocks = this.#tuning.blocks): Promise<Content> {
    const bytes = Buffer.alloc(blocks * BLOCK, 0xff);
    const { first, blocks: all } = this.#tuning;
    await this.reader!.read(first + lba, blocks, [bytes], first + all);
    return contentOf(bytes, lba, this.report);
  }

  write(lba: number, blocks: number, version: number): void {
    const bytes = Buffer.alloc(blocks * BLOCK);
    for (let i = 0; i < blocks; i++) stamp(bytes, i, lba + i, version);
    this.#change({ lba, blocks, version }, () =>
      this.writer!.appender.write(this.#tuning.first + lba, blocks, [bytes], 0),
    );
  }

  zero(lba: number, blocks: number): void {
    this.#change({ lba, blocks, version: 0 }, () =>
      this.writer!.appender.zero(this.#tuning.first + lba, blocks),
    );
  }

  flush(): void {
    const covers = this.answered;
    const done = (): void => {
      this.flushed = Math.max(this.flushed, covers);
      if (this.cut !== undefined && covers > this.cut)
        this.report(`a flush of ${covers} changes was answered, and the successor found ${this.cut}`);
      if (this.failed !== undefined) this.report('a flush was answered after the disk had failed');
    };
    void this.#try(() => this.writer!.appender.flush(), done);
  }

  /** Compares a part of the disk with what the guest believes; what it writes meanwhile may be seen, or not. */
  async check(lba: number, blocks: number): Promise<void> {
    if (this.answered < this.changes.length) return;
    const expected = this.model.slice(lba, lba + blocks);
    const from = this.changes.length;
    try {
      const found = await this.readAll(lba, blocks);
      const later = this.changes.slice(from);
      for (let i = 0; i < blocks; i++)
        if (found[i] !== expected[i] && !later.some((change) => isOf(change, lba + i, found[i]!)))
          this.report(`block ${lba + i} has version ${found[i]}, and ${expected[i]} was written`);
    } catch (error) {
      if (this.failed === undefined && !this.isSuperseded()) this.report(`cannot be read: ${error}`);
    }
  }

  /** Everything that the snapshot may hold: the disk as it was at some moment while it was made. */
  async snapshot(name: string): Promise<Content[] | undefined> {
    const possible = [this.model.slice()];
    const from = this.changes.length;
    try {
      await this.writer!.snapshot(name, '');
    } catch {
      return undefined;
    }
    for (const { lba, blocks, version } of this.changes.slice(from))
      possible.push(
        possible
          .at(-1)!
          .slice()
          .fill(version, lba, lba + blocks),
      );
    return possible;
  }

  /** Gives a name to a point, which it returns if it is certain that it has one now. */
  async keepPoint(
    name: string,
    choose: (points: readonly Point[]) => Point | undefined,
  ): Promise<Point | undefined> {
    let kept: Point | undefined;
    try {
      await this.writer!.change(({ points = [], snapshots }) => {
        const there = snapshots.find((other) => other.name === name);
        // A change that was given up has come to pass, or it is the name of something else.
        if (there !== undefined) {
          if (there.checkpoint.key !== kept?.checkpoint.key) kept = undefined;
          return {};
        }
        kept = choose(points);
        if (kept === undefined) return {};
        const { at, size, checkpoint } = kept;
        return { snapshots: [...snapshots, { name, createdAt: at, size, checkpoint }] };
      });
    } catch {
      return undefined;
    }
    return kept;
  }

  /** What a much larger disk does all the time. */
  forgetMap(): void {
    this.writer!.recovered.stored.map.trim(0);
  }

  /** As a disk that is stopped. Its process lives a little longer. */
  async close(): Promise<void> {
    this.#isClosing = true;
    try {
      await this.flatten?.stop();
      await this.writer!.release();
    } catch (error) {
      if (!GatewayError.is(error) && !isStoreError(error) && !BlockError.is(error))
        this.report(`cannot be closed: ${(error as Error).stack}`);
    }
    setTimeout(() => this.kill(), 1000);
  }

  kill(): void {
    this.actor.alive = false;
  }

  #change(change: Change, run: () => void | Promise<void>): void {
    const index = this.changes.push(change);
    this.model.fill(change.version, change.lba, change.lba + change.blocks);
    void this.#try(run, () => {
      this.answered = Math.max(this.answered, index);
    });
  }

  async #try(run: () => void | Promise<void>, done: () => void): Promise<void> {
    try {
      await run();
    } catch (error) {
      if (!BlockError.is(error)) this.report(`failed with ${(error as Error).stack}`);
      return;
    }
    done();
  }
}

const isOf = ({ lba, blocks, version }: Change, block: number, found: number): boolean =>
  version === found && block >= lba && block < lba + blocks;

function stamp(bytes: Buffer, index: number, lba: number, version: number): void {
  bytes.writeUInt32LE(lba, index * BLOCK);
  bytes.writeUInt32LE(version, index * BLOCK + 4);
  bytes.writeUInt32LE(version, (index + 1) * BLOCK - 4);
}

export function contentOf(bytes: Buffer, lba: number, report: (problem: string) => void): Content {
  const content = new Int32Array(bytes.length / BLOCK);
  for (let i = 0; i < content.length; i++) {
    const version = bytes.readUInt32LE(i * BLOCK + 4);
    content[i] = version;
    const isWhole = bytes.readUInt32LE((i + 1) * BLOCK - 4) === version;
    if (!isWhole || (version !== 0 && bytes.readUInt32LE(i * BLOCK) !== lba + i))
      report(`block ${lba + i} holds what was never written there`);
  }
  return content;
}
