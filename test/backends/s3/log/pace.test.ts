import { describe, expect, it } from 'vitest';
import { s3Config } from '../../../../backends/s3/config.ts';
import { FrameCache } from '../../../../backends/s3/log/cache/frame-cache.ts';
import { FrameCodec } from '../../../../backends/s3/log/frames/frame-codec.ts';
import { readHead } from '../../../../backends/s3/log/head.ts';
import { LogNames } from '../../../../backends/s3/log/names.ts';
import { BLOCK } from '../../../../backends/s3/log/object-header.ts';
import { readRecord } from '../../../../backends/s3/log/volume/volume-record.ts';
import { claim, LogWriter, type WriterOptions } from '../../../../backends/s3/log/writer.ts';
import { withStore } from '../../../../backends/s3/operation.ts';
import { S3_STANDARD } from '../../../../backends/s3/store/prices.ts';
import { StoreError } from '../../../../backends/s3/store/store-error.ts';
import { createVolume } from '../../../../backends/s3/volumes.ts';
import { BlockError, ownIdentity } from '../../../../core/plugin.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { World } from '../../../sim/world.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, MIB } from '../harness.ts';

const NAMES = new LogNames('disks/a');
const CODEC = new FrameCodec('none', undefined);
const SEED = 11;
const BLOCKS = 8192;
const DISK = BLOCKS * BLOCK;
/** Of the disk, as the writer has it. */
const MUCH_GARBAGE = 256;
const WRITE_BUFFER = 2 * MIB;
/** Copies come in objects of up to this size, however small the disk is. */
const COPIES = 16 * MIB;
/** Requests of the guest at once. */
const DEPTH = 16;

/** How long a request to the store takes, in milliseconds of the world; it may throw. */
type Fate = (operation: string, key: string) => number;

/** A store some milliseconds away, which takes `speed` bytes per millisecond each way. */
class SlowDisk implements Disposable {
  readonly world = new World(SEED);
  readonly bucket = new FakeBucket();
  readonly store = new FakeStore(this.bucket);
  readonly #random = seededRandom(SEED);
  readonly #busyUntil = { put: 0, other: 0 };
  fate: Fate = () => 10;
  writer!: LogWriter;
  /** The most that the log has ever occupied. Bytes. */
  peak = 0;

  static async open(spaceTarget: number, speed: number): Promise<SlowDisk> {
    const disk = new SlowDisk();
    const { store, world } = disk;
    const config = s3Config.parse({ bucket: 'bucket', prefix: NAMES.prefix, size: DISK });
    await withStore(new FakeStore(disk.bucket), config, context(), createVolume);
    store.gate = async (operation, key) => {
      const { bytes } = store.requests.at(-1)!;
      const line = operation === 'put' ? 'put' : 'other';
      const latency = disk.fate(operation, key);
      const done = Math.max(world.now, disk.#busyUntil[line]) + bytes / speed;
      disk.#busyUntil[line] = done;
      await new Promise<void>((resolve) => setTimeout(resolve, done + latency - world.now));
    };
    const options: WriterOptions = {
      starting: store,
      running: store,
      names: NAMES,
      volume: (await readRecord(new FakeStore(disk.bucket), NAMES))!.uuid,
      writer: { disk: 'disk0', since: '', process: ownIdentity() },
      codec: CODEC,
      maxAgeMs: 2000,
      needsJournal: () => false,
      nonce: Buffer.alloc(16, 1),
      writeBuffer: WRITE_BUFFER,
      mapPages: 8,
      checkpointEvery: 256,
      muchGarbage: MUCH_GARBAGE,
      spaceTarget,
      prices: S3_STANDARD,
      retention: undefined,
      clock: Date.now,
      logger: context().logger,
      onFailed: () => undefined,
    };
    await disk.until(async () => {
      const head = await claim(options, (await readHead(store, NAMES))!);
      disk.writer = await LogWriter.open(options, head!, new FrameCache(store, CODEC, 0));
    });
    await disk.until(async () => {
      for (let lba = 0; lba < BLOCKS; lba += 64)
        await disk.writer.appender.write(lba, 64, [Buffer.alloc(64 * BLOCK, 1)], 0);
      await disk.writer.appender.flush();
    });
    return disk;
  }

  /** Lets time pass until `run` has settled, for hours at most. */
  async until<T>(run: () => Promise<T>): Promise<T> {
    let result: { readonly value: T } | { readonly error: unknown } | undefined;
    void run().then(
      (value) => (result = { value }),
      (error: unknown) => (result = { error }),
    );
    const end = this.world.now + 100_000_000;
    while (result === undefined && this.world.now < end) {
      await this.world.run(20);
      this.peak = Math.max(this.peak, this.stored);
    }
    if (result === undefined) expect.fail('it hangs');
    if ('error' in result) throw result.error;
    return result.value;
  }

  get stored(): number {
    let sum = 0;
    for (const [key, { body }] of this.bucket.objects) if (key.startsWith(NAMES.log)) sum += body.length;
    return sum;
  }

  /** So many writes of a block each, anywhere on the disk. */
  async overwrite(count: number): Promise<void> {
    let left = count;
    const block = Buffer.alloc(BLOCK, 2);
    const guest = async (): Promise<void> => {
      while (left-- > 0) await this.writer.appender.write(Math.floor(this.#random() * BLOCKS), 1, [block], 0);
    };
    await this.until(() => Promise.all(Array.from({ length: DEPTH }, guest)));
  }

  get heldMs(): number {
    return this.writer.appender.heldMs;
  }

  [Symbol.dispose](): void {
    this.writer.appender.stop(new BlockError('ESHUTDOWN', 'the test is over'));
    this.world[Symbol.dispose]();
  }
}

/** What the documentation promises: half of what is allowed beyond 1 more, and what is small or on its way. */
const bound = (target: number): number =>
  DISK * (1 + 1.5 * (target - 1)) + 3 * MUCH_GARBAGE * BLOCK + WRITE_BUFFER + COPIES;

describe('the pace of writers', () => {
  it.each([
    { target: 1.1, times: 1 },
    { target: 1.4, times: 10 },
  ])(
    'keeps the log below $target times the disk while all of it is overwritten $times times',
    async ({ target, times }) => {
      using disk = await SlowDisk.open(target, 20_000);
      await disk.overwrite(times * BLOCKS);
      // Headers come on top of the blocks.
      expect(disk.peak, `seed ${SEED}`).toBeLessThanOrEqual(bound(target) * 1.02);
      expect(disk.heldMs).toBeGreaterThan(0);
    },
  );

  it('is not slowed down while there is room', async () => {
    using disk = await SlowDisk.open(2, 20_000);
    await disk.overwrite(BLOCKS / 2);
    expect(disk.heldMs).toBe(0);
  });

  it('does not wait for what a snapshot needs', async () => {
    using disk = await SlowDisk.open(1.1, 20_000);
    await disk.until(() => disk.writer.snapshot('before', ''));
    // What the snapshot has is overwritten once; nothing of that can be freed.
    const held = disk.heldMs;
    await disk.until(async () => {
      for (let lba = 0; lba < BLOCKS; lba += 8)
        await disk.writer.appender.write(lba, 8, [Buffer.alloc(8 * BLOCK, 3)], 0);
      await disk.writer.appender.flush();
    });
    expect(disk.heldMs - held).toBeLessThan(1000);
    expect(disk.stored).toBeGreaterThan(2 * DISK);
  });

  it('does not wait for ever for checkpoints that fail', async () => {
    using disk = await SlowDisk.open(1.1, 20_000);
    disk.fate = (_, key) => {
      if (key.startsWith(NAMES.checkpoints)) throw new StoreError('access-denied', 'AccessDenied');
      return 10;
    };
    await disk.overwrite(2 * BLOCKS);
    expect(disk.store.count('delete')).toBe(0);
  });

  it('does not wait for ever for checkpoints that are never answered', async () => {
    using disk = await SlowDisk.open(1.1, 20_000);
    disk.fate = (_, key) => (key.startsWith(NAMES.checkpoints) ? 1e12 : 10);
    await disk.overwrite(2 * BLOCKS);
    expect(disk.heldMs).toBeGreaterThan(25_000);
  });

  it('does not wait for objects that are damaged, and frees the others', async () => {
    using disk = await SlowDisk.open(1.1, 20_000);
    for (const key of disk.store.keys(NAMES.log).slice(0, 2)) {
      const { body } = disk.bucket.objects.get(key)!;
      body.fill(9, body.length - BLOCK);
    }
    await disk.overwrite(BLOCKS);
    expect(disk.stored).toBeLessThanOrEqual(bound(1.1) + 2 * WRITE_BUFFER);
  });

  it('ends with the disk: those that wait are told why', async () => {
    using disk = await SlowDisk.open(1.1, 2000);
    let failures = 0;
    const writing = disk.overwrite(10 * BLOCKS).catch((error: BlockError) => {
      failures++;
      expect(error.code).toBe('ESHUTDOWN');
    });
    await disk.world.run(60_000);
    disk.writer.appender.stop(new BlockError('ESHUTDOWN', 'the disk is closed'));
    await writing;
    expect(failures).toBe(1);
  });

  it('fails those that wait where the store gives up', async () => {
    using disk = await SlowDisk.open(1.1, 2000);
    disk.fate = (operation, key) => {
      if (operation === 'put' && key.startsWith(NAMES.log) && disk.heldMs > 1000)
        throw new StoreError('unreachable', 'ECONNREFUSED');
      return 10;
    };
    await expect(disk.overwrite(10 * BLOCKS)).rejects.toMatchObject({ code: 'ECONNLOST' });
  });
});
