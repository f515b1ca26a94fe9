import { BlockError, GatewayError, type Logger } from '../../../core/plugin.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { Prices } from '../store/prices.ts';
import { Appender } from './appender.ts';
import type { FrameCache } from './cache/frame-cache.ts';
import { Collector } from './collection/collector.ts';
import { LogSpace } from './collection/log-space.ts';
import { ObjectAges } from './collection/object-ages.ts';
import { Pace } from './collection/pace.ts';
import { FencedError } from './fenced.ts';
import type { Compression } from './frames/compression.ts';
import type { FrameCodec } from './frames/frame-codec.ts';
import {
  type Head,
  HeadFile,
  type Point,
  refuseTaken,
  type Snapshot,
  type StoredHead,
  type Writer,
  writeHead,
} from './head.ts';
import { Checkpointer } from './map/checkpointer.ts';
import { Pins } from './map/needs.ts';
import type { LogNames } from './names.ts';
import { BLOCK, uuidBytes } from './object-header.ts';
import { Overlay } from './overlay.ts';
import { unexpired } from './points/policy.ts';
import { type Recovered, recover } from './recovery.ts';

export interface WriterOptions {
  /** For opening: somebody waits. */
  readonly starting: ObjectStore;
  /** For a disk that runs. */
  readonly running: ObjectStore;
  readonly names: LogNames;
  /** UUID. */
  readonly volume: string;
  readonly writer: Writer;
  /** 16 bytes that no other writer has. */
  readonly nonce: Buffer;
  readonly codec: FrameCodec;
  /** Memory for what is not stored yet. Bytes. */
  readonly writeBuffer: number;
  /** What nobody flushes is stored after so long all the same. Milliseconds. */
  readonly maxAgeMs: number;
  /** Looks at the head that is to be claimed. Throws when it must not be; false: its journal is not needed. */
  readonly needsJournal: (head: Head) => boolean;
  /** Of the map, in memory. */
  readonly mapPages: number;
  /** Objects between two checkpoints. */
  readonly checkpointEvery: number;
  /** So much more of the log without use is worth a checkpoint as well. Blocks. */
  readonly muchGarbage: number;
  /** Blocks that the log may hold for each block of the disk that is in use; the rest is collected. */
  readonly spaceTarget: number;
  /** What the store charges: decides what is worth collecting. */
  readonly prices: Prices;
  /** For how long points are kept; 0: not at all. Undefined, for operations: they stay as they are. Milliseconds. */
  readonly retention: number | undefined;
  /** The time of day. */
  readonly clock: () => number;
  readonly logger: Logger;
  /** The disk cannot go on. */
  readonly onFailed: (reason: BlockError) => void;
}

/** Claims the volume: the head names us from here on. Undefined: somebody else was faster. */
export async function claim(
  { starting, names, writer, nonce, needsJournal, retention, clock }: WriterOptions,
  { head, etag }: StoredHead,
): Promise<HeadFile | undefined> {
  const epoch = head.epoch + 1;
  const claimed: Head = {
    ...head,
    version: head.version + 1,
    nonce: nonce.toString('hex'),
    epoch,
    state: 'owned',
    writer,
    journal: needsJournal(head) ? (head.journal ?? null) : null,
    epochs: [...head.epochs, { epoch }],
    ...(retention !== undefined && retained(head, retention, clock())),
  };
  const written = await writeHead(starting, names, claimed, etag);
  if (typeof written !== 'string') return undefined;
  return new HeadFile(starting, names, { head: claimed, etag: written });
}

/** Points that are too old go, and so do all of them where none are wanted any more. */
function retained({ points, retention: before }: Head, retention: number, now: number): Partial<Head> {
  if (points === undefined && before === undefined && retention === 0) return {};
  return { retention, points: [...unexpired(points ?? [], retention, now)] };
}

/**
 * The ends that were found, for whoever comes next. If the volume is somebody else's by now, they may be wrong: that one
 * may have deleted what we looked for. Throws `volume.owner-contended`.
 */
async function closeEpochs(head: HeadFile, { epochs }: Recovered): Promise<void> {
  const isOurs = await head.change(({ epoch }) => ({ epochs: [...epochs, { epoch }] }));
  if (isOurs) return;
  throw new GatewayError('volume.owner-contended', 'Several gateways want this volume at the same time.', {
    why: 'Another one has taken it while this one was opening it.',
    fix: 'Leave the volume to one of them.',
  });
}

/** A volume that is open for writing. */
export class LogWriter {
  readonly #head: HeadFile;
  readonly #checkpointer: Checkpointer;
  readonly #collector: Collector;
  /** Of what is written. */
  readonly compression: Compression;
  readonly recovered: Recovered;
  readonly overlay: Overlay;
  readonly appender: Appender;

  private constructor(
    options: WriterOptions,
    head: HeadFile,
    recovered: Recovered,
    pins: Pins,
    frames: FrameCache,
  ) {
    this.#head = head;
    this.compression = options.codec.compression;
    this.recovered = recovered;
    this.overlay = new Overlay();
    const { running, names, nonce, codec, logger, spaceTarget, muchGarbage } = options;
    const { stored, last, replayed } = recovered;
    const { table, map } = stored;
    const { epoch } = head.content;
    const ages = new ObjectAges([...table.values()].filter((object) => !object.isStored));
    const space = new LogSpace(stored);
    const pace = new Pace({
      space,
      spaceTarget,
      muchGarbage,
      inFlight: Math.ceil(options.writeBuffer / BLOCK),
      hurry: () => this.#checkpointer.hurry(),
      logger,
    });
    this.appender = new Appender({
      store: running,
      names,
      table,
      map,
      overlay: this.overlay,
      signature: { volume: uuidBytes(options.volume), nonce },
      codec,
      epoch,
      last,
      maxAgeMs: options.maxAgeMs,
      maxBytes: options.writeBuffer,
      pace,
      logger,
      onStored: (object, data) => frames.keepStored(object, data),
      onDurable: (object) => {
        ages.add(object);
        this.#checkpointer.durable(object);
      },
      onFailed: options.onFailed,
    });
    this.#checkpointer = new Checkpointer(
      {
        store: running,
        names,
        stored,
        head,
        appender: this.appender,
        epoch,
        pins,
        every: options.checkpointEvery,
        muchGarbage,
        spaceTarget,
        space,
        pace,
        retention: options.retention,
        clock: options.clock,
        logger,
        onWritten: () => this.#collector.start(),
      },
      replayed,
    );
    this.#collector = new Collector({
      store: running,
      names,
      key: codec.key,
      stored,
      frames,
      ages,
      appender: this.appender,
      pinned: pins.objects,
      spaceTarget,
      space,
      pace,
      prices: options.prices,
      logger,
      free: () => this.#checkpointer.free(),
    });
  }

  /** Fixes where the log ends, and reads it. `head` is ours. */
  static async open(options: WriterOptions, head: HeadFile, frames: FrameCache): Promise<LogWriter> {
    const { starting, running, names, volume, nonce, codec } = options;
    const source = { store: starting, names, key: codec.key };
    const { content } = head;
    const before = content.epochs.filter(({ epoch }) => epoch !== content.epoch);
    const signature = { volume: uuidBytes(volume), nonce };
    const recovered = await recover(
      source,
      { checkpoint: content.checkpoint, epochs: before },
      signature.volume,
      signature,
      options.mapPages,
    );
    recovered.stored.reader.store = running;
    if (before.some(({ end }) => end === undefined)) await closeEpochs(head, recovered);
    const file = new HeadFile(running, names, { head: head.content, etag: head.etag });
    return new LogWriter(options, file, recovered, new Pins({ ...source, store: running }), frames);
  }

  /** Objects after the last checkpoint. */
  get debt(): number {
    return this.#checkpointer.debt;
  }

  get head(): Head {
    return this.#head.content;
  }

  /** Makes a checkpoint of what is durable, and collects what is not needed any more. */
  async checkpoint(): Promise<void> {
    await this.#checkpointer.run();
    await this.#collector.idle();
  }

  /** Keeps the disk as it is now, after a flush, under a name. */
  async snapshot(name: string, createdAt: string): Promise<Snapshot> {
    refuseTaken(this.head, name);
    await this.appender.flushToStore();
    return await this.#checkpointer.snapshot(name, createdAt);
  }

  /** Keeps the disk as it was at one of its points under a name. */
  keepPoint(name: string, find: (head: Head) => Point): Promise<Snapshot> {
    return this.#checkpointer.keep(name, find);
  }

  async change(change: (head: Head) => Partial<Head>): Promise<void> {
    if (await this.#head.change(change)) return;
    const reason = new FencedError('head');
    this.appender.stop(reason);
    throw reason;
  }

  /** Everything that was flushed is durable; the volume is nobody's when this settles. */
  async release(): Promise<void> {
    if (this.appender.journal !== undefined && this.appender.failure === undefined)
      await this.appender.flushToStore();
    await this.#collector.stop();
    if (this.appender.failure === undefined && this.appender.isIdle)
      await this.#checkpointer.close().catch(() => undefined);
    await this.#checkpointer.stop();
    if (this.appender.failure !== undefined || !this.appender.isIdle) return;
    const { place } = this.appender.durable;
    const { epoch } = this.#head.content;
    // An epoch without objects is as if it had never been.
    const end = place.epoch === epoch ? place.seq : 0;
    await this.#head.change(({ epochs }) => ({
      state: 'released',
      writer: null,
      // Without it, one that was not replayed to its end is needed by whoever comes next.
      ...(this.appender.journal !== undefined && { journal: null }),
      epochs: [...epochs.filter((other) => other.epoch !== epoch), ...(end > 0 ? [{ epoch, end }] : [])],
    }));
    this.appender.stop(new BlockError('ESHUTDOWN', 'the disk is closed'));
  }
}
