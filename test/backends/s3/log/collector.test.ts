import { describe, expect, it } from 'vitest';
import { s3Config } from '../../../../backends/s3/config.ts';
import { FrameCache } from '../../../../backends/s3/log/cache/frame-cache.ts';
import { FrameCodec } from '../../../../backends/s3/log/frames/frame-codec.ts';
import { readHead } from '../../../../backends/s3/log/head.ts';
import { LogNames } from '../../../../backends/s3/log/names.ts';
import { BLOCK } from '../../../../backends/s3/log/object-header.ts';
import { LogReader } from '../../../../backends/s3/log/reader.ts';
import { readRecord } from '../../../../backends/s3/log/volume/volume-record.ts';
import { claim, LogWriter, type WriterOptions } from '../../../../backends/s3/log/writer.ts';
import { withStore } from '../../../../backends/s3/operation.ts';
import { S3_STANDARD } from '../../../../backends/s3/store/prices.ts';
import { createVolume } from '../../../../backends/s3/volumes.ts';
import { ownIdentity } from '../../../../core/plugin.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context } from '../harness.ts';

const CODEC = new FrameCodec('none', undefined);

const NAMES = new LogNames('disks/a');
const BLOCKS = 2048;

/** A volume whose checkpoints come as often as its size asks for. */
async function opened(spaceTarget: number) {
  const bucket = new FakeBucket();
  const store = new FakeStore(bucket);
  const config = s3Config.parse({ bucket: 'bucket', prefix: NAMES.prefix, size: BLOCKS * BLOCK });
  await withStore(new FakeStore(bucket), config, context(), createVolume);
  const options: WriterOptions = {
    starting: store,
    running: store,
    names: NAMES,
    volume: (await readRecord(store, NAMES))!.uuid,
    writer: { disk: 'disk0', since: '', process: ownIdentity() },
    codec: CODEC,
    maxAgeMs: 2000,
    needsJournal: () => false,
    nonce: Buffer.alloc(16, 1),
    writeBuffer: 16 * 2 ** 20,
    mapPages: 8,
    checkpointEvery: 10_000,
    muchGarbage: 16,
    spaceTarget,
    prices: S3_STANDARD,
    retention: undefined,
    clock: Date.now,
    logger: context().logger,
    onFailed: () => undefined,
  };
  const head = await claim(options, (await readHead(store, NAMES))!);
  const frames = new FrameCache(store, CODEC, 0);
  const writer = await LogWriter.open(options, head!, frames);
  const { map, table } = writer.recovered.stored;
  return { bucket, store, writer, reader: new LogReader(map, writer.overlay, table, frames) };
}

type Disk = Awaited<ReturnType<typeof opened>>;

const stamp = (lba: number, version: number): Buffer => {
  const block = Buffer.alloc(BLOCK, version & 0xff);
  block.writeUInt32LE(lba, 0);
  block.writeUInt32LE(version, 4);
  return block;
};

/** Nothing is left to collect, and what was freed is deleted. */
async function settle({ writer, store }: Disk): Promise<void> {
  for (let appended = -1; appended !== store.count('put', '/log/'); ) {
    appended = store.count('put', '/log/');
    await writer.checkpoint();
  }
  await writer.checkpoint();
}

const stored = ({ store, bucket }: Disk): number =>
  store.keys(NAMES.log).reduce((sum, key) => sum + bucket.objects.get(key)!.body.length, 0);

describe('the collector', () => {
  it.each([1.1, 1.4, 3])('keeps the log below %f times what is in use, and every block', async (target) => {
    const seed = 7;
    const next = seededRandom(seed);
    const disk = await opened(target);
    const { writer, store } = disk;
    const versions = new Uint32Array(BLOCKS);
    const put = async (lba: number, version: number) => {
      await writer.appender.write(lba, 1, [stamp(lba, version)], 0);
      versions[lba] = version;
    };
    for (let lba = 0; lba < BLOCKS; lba++) await put(lba, 1);
    await writer.appender.flush();
    let most = 0;
    for (let i = 0; i < 8 * BLOCKS; i++) {
      await put(next() < 0.7 ? Math.floor(next() * 64) : Math.floor(next() * BLOCKS), i + 2);
      if (i % 64 !== 63) continue;
      await writer.appender.flush();
      if (i % 1024 !== 1023) continue;
      await settle(disk);
      most = Math.max(most, stored(disk));
    }
    // Headers come on top of the blocks.
    expect(most).toBeLessThanOrEqual(BLOCKS * BLOCK * target * 1.02);
    expect(store.count('delete')).toBeGreaterThan(0);
    for (let lba = 0; lba < BLOCKS; lba++) {
      const block = Buffer.alloc(BLOCK);
      await disk.reader.read(lba, 1, [block], BLOCKS);
      expect(block.equals(stamp(lba, versions[lba]!)), `block ${lba}, seed ${seed}`).toBe(true);
    }
    await writer.release();
  });

  it('copies less where more may be occupied', async () => {
    const sent: number[] = [];
    for (const target of [1.1, 1.4, 2]) {
      const next = seededRandom(3);
      const disk = await opened(target);
      const { writer, store } = disk;
      for (let lba = 0; lba < BLOCKS; lba++) await writer.appender.write(lba, 1, [stamp(lba, 1)], 0);
      for (let i = 0; i < 4 * BLOCKS; i++) {
        const lba = Math.floor(next() * BLOCKS);
        await writer.appender.write(lba, 1, [stamp(lba, i)], 0);
        if (i % 64 !== 63) continue;
        await writer.appender.flush();
        if (i % 512 === 511) await settle(disk);
      }
      sent.push(
        store.requests
          .filter(({ operation, key }) => operation === 'put' && key.startsWith(NAMES.log))
          .reduce((sum, { bytes }) => sum + bytes, 0),
      );
      await writer.release();
    }
    expect(sent[0]).toBeGreaterThan(sent[1]!);
    expect(sent[1]).toBeGreaterThan(sent[2]!);
  });

  it('reads what it copies with few requests', async () => {
    const disk = await opened(1.1);
    const { writer, store } = disk;
    for (let lba = 0; lba < BLOCKS; lba++) await writer.appender.write(lba, 1, [stamp(lba, 1)], 0);
    await writer.appender.flush();
    // Every second block: what is left lies in a thousand pieces.
    store.requests.length = 0;
    for (let lba = 0; lba < BLOCKS; lba += 2) await writer.appender.write(lba, 1, [stamp(lba, 2)], 0);
    await writer.appender.flush();
    await settle(disk);
    expect(stored(disk)).toBeLessThan(BLOCKS * BLOCK * 1.1);
    expect(store.count('read')).toBeLessThan(20);
    await writer.release();
  });
});
