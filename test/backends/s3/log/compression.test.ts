import { randomBytes } from 'node:crypto';
import { crc32, zstdCompressSync } from 'node:zlib';
import lz4 from 'lz4-napi';
import { describe, expect, it } from 'vitest';
import { FrameCodec } from '../../../../backends/s3/log/frames/frame-codec.ts';
import { FrameTable } from '../../../../backends/s3/log/frames/frame-table.ts';
import { NapiLz4 } from '../../../../backends/s3/log/frames/lz4.ts';
import { NodeZstd } from '../../../../backends/s3/log/frames/zstd.ts';
import {
  Codec,
  decodeHeader,
  encodeHeader,
  FRAME,
  headerLength,
} from '../../../../backends/s3/log/object-header.ts';
import { cloneVolume } from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { createVolume, volumeInfo } from '../../../../backends/s3/volumes.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import type { FakeBucket } from '../fake-store.ts';
import { MIB, pattern, readAll, sameBytes } from '../harness.ts';
import { BLOCK, newVolume, opened, operate, refusal, settings } from './disk.ts';

const ZSTD = { compression: 'zstd' };
const LZ4 = { compression: 'lz4' };

const logKeys = (bucket: FakeBucket) => [...bucket.objects.keys()].filter((key) => key.includes('/log/'));

function headerOf(bucket: FakeBucket, key: string) {
  const header = decodeHeader(bucket.objects.get(key)!.body, { name: key, key: undefined });
  if (typeof header === 'string') throw new Error(header);
  return header;
}

/** The last object again, with its first frame stored as `frame`. */
function replaceFrame(bucket: FakeBucket, frame: Buffer, codec: number): void {
  const key = logKeys(bucket).at(-1)!;
  const header = headerOf(bucket, key);
  const frames = [{ stored: frame.length, codec, crc: crc32(frame) }];
  const body = Buffer.concat([encodeHeader({ ...header, frames }), frame]);
  bucket.objects.set(key, {
    ...bucket.objects.get(key)!,
    body,
    info: { etag: '"x"', size: body.length, metadata: {} },
  });
}

describe('the compression of frames', () => {
  it.each([
    ['zstd', Codec.ZSTD],
    ['lz4', Codec.LZ4],
  ] as const)('stores what shrinks in less, and gives it back: %s', async (compression, kind) => {
    const codec = new FrameCodec(compression, undefined);
    const data = Buffer.concat([pattern(FRAME, 1), randomBytes(FRAME), pattern(BLOCK, 2)]);
    const { entries, parts } = await codec.encode(data, undefined);
    expect(entries.map((entry) => entry.codec)).toEqual([kind, Codec.NONE, kind]);
    const table = new FrameTable(9, entries, undefined);
    const back = await Promise.all(parts!.map((part, i) => codec.decode(Buffer.from(part), table, i)));
    expect(sameBytes(Buffer.concat(back), data)).toBe(true);
  });

  it('leaves alone what does not shrink by a sixteenth', async () => {
    const shrunk = (bytes: number) => ({
      compress: async () => Buffer.alloc(bytes),
      decompress: async () => Buffer.alloc(0),
    });
    const stored = async (bytes: number) =>
      (
        await new FrameCodec('zstd', undefined, { zstd: shrunk(bytes) }).encode(
          Buffer.alloc(FRAME),
          undefined,
        )
      ).entries[0]!.stored;
    expect(await stored((FRAME * 15) / 16)).toBe((FRAME * 15) / 16);
    expect(await stored((FRAME * 15) / 16 + 1)).toBe(FRAME);
  });

  it.each([
    ['zstd', new NodeZstd()],
    ['lz4', new NapiLz4()],
  ] as const)('tries but a sample of data that does not shrink: %s', async (compression, real) => {
    let tried = 0;
    const codec = new FrameCodec(compression, undefined, {
      [compression]: {
        compress: (bytes: Uint8Array) => {
          tried++;
          return real.compress(bytes);
        },
        decompress: (bytes: Uint8Array, most: number) => real.decompress(bytes, most),
      },
    });
    expect((await codec.encode(randomBytes(160 * FRAME), undefined)).parts).toBeUndefined();
    expect(tried).toBe(10);
    tried = 0;
    await codec.encode(Buffer.from(pattern(160 * FRAME, 1)), undefined);
    expect(tried).toBe(160);
  });

  it('stands what is not LZ4, whatever it is', async () => {
    const seed = 5;
    const random = seededRandom(seed);
    const codec = new NapiLz4();
    const good = await codec.compress(Buffer.from(pattern(FRAME, 1)));
    for (let i = 0; i < 2000; i++) {
      let bytes: Buffer = i % 2 === 0 ? Buffer.from(good) : Buffer.alloc(1 + Math.floor(random() * 400));
      if (i % 2 === 0) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      else for (let at = 0; at < bytes.length; at++) bytes[at] = Math.floor(random() * 256);
      if (i % 5 === 0) bytes = bytes.subarray(0, Math.floor(random() * bytes.length));
      const data = await codec.decompress(bytes, FRAME).catch(() => Buffer.alloc(0));
      expect(data.length, `seed ${seed}`).toBeLessThanOrEqual(FRAME);
    }
  });
});

describe('a volume with compression', () => {
  it.each([1, 2, 3])('holds what a model holds, seed %i', async (seed) => {
    const random = seededRandom(seed);
    const bucket = await newVolume(MIB, ZSTD);
    const model = Buffer.alloc(MIB);
    for (let round = 0; round < 6; round++) {
      // The setting may change at any time.
      const draw = random();
      const compression = draw < 0.3 ? { compression: 'none' } : draw < 0.6 ? LZ4 : {};
      await using disk = await opened(bucket, { ...compression, readCache: 0 });
      for (let i = 0; i < 20; i++) {
        const blocks = 1 + Math.floor(random() * 40);
        const lba = Math.floor(random() * (256 - blocks));
        const bytes = Buffer.from(pattern(blocks * BLOCK, 1 + Math.floor(random() * 1e9)));
        // Some of it does not shrink.
        if (random() < 0.5)
          for (let at = 0; at < bytes.length / 2; at++) bytes[at] = Math.floor(random() * 256);
        bytes.copy(model, lba * BLOCK);
        await disk.device.write!(lba * BLOCK, [bytes], 0);
        if (random() < 0.4) await disk.device.flush!(0);
      }
      expect(sameBytes(await readAll(disk.device, 0, MIB), model)).toBe(true);
      await disk.device.flush!(0);
      expect(sameBytes(await readAll(disk.device, 0, MIB), model)).toBe(true);
    }
    await using disk = await opened(bucket, {}, { readOnly: true });
    expect(sameBytes(await readAll(disk.device, 0, MIB), model)).toBe(true);
  });

  it('says how much it saves, also of what a checkpoint holds', async () => {
    const bucket = await newVolume(16 * MIB, ZSTD);
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(8 * MIB, 1)], 0);
      await disk.device.flush!(0);
      expect(disk.device.status!()['compression']).toMatch(/^zstd, ratio \d{2,}/);
      await disk.device.snapshot!('one');
    }
    const info = await operate(bucket, volumeInfo);
    expect(info.used).toBe(8 * MIB);
    expect(info.details!['compression']).toBe('zstd');
    expect(info.details!['compression ratio']).toBeGreaterThan(50);
    expect(info.details!['stored']).toBeLessThan(200_000);
    expect(info.details!['objects to replay']).toBe(0);
  });

  it('may be one that was created before there was compression', async () => {
    const bucket = await newVolume(MIB);
    const there = bucket.objects.get('disks/a/volume.json')!;
    const { compression, ...record } = JSON.parse(there.body.toString());
    expect(compression).toBe('none');
    bucket.objects.set('disks/a/volume.json', { ...there, body: Buffer.from(JSON.stringify(record)) });
    for (const [i, options] of [{}, ZSTD, LZ4, {}].entries()) {
      await using disk = await opened(bucket, options);
      for (let at = 0; at < i; at++)
        expect(sameBytes(await readAll(disk.device, at * FRAME, FRAME), pattern(FRAME, at))).toBe(true);
      await disk.device.write!(i * FRAME, [pattern(FRAME, i)], 0);
      await disk.device.flush!(0);
    }
    const versions = logKeys(bucket).map((key) => bucket.objects.get(key)!.body.readUInt32LE(8));
    expect(versions).toEqual([1, 2, 2, 1]);
  });

  it('needs one request for a block once it knows the object', async () => {
    const bucket = await newVolume(16 * MIB, ZSTD);
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(8 * MIB, 1)], 0);
      await disk.device.flush!(0);
    }
    await using disk = await opened(bucket, { readCache: 0 });
    for (let i = 0; i < 10; i++) await readAll(disk.device, (7 - (i % 8)) * MIB, BLOCK);
    expect(disk.store.requests).toHaveLength(10);
    for (const { bytes } of disk.store.requests) expect(bytes).toBeLessThan(FRAME / 4);
  });

  it('writes objects that older versions read where nothing shrinks', async () => {
    const bucket = await newVolume(MIB, ZSTD);
    await using disk = await opened(bucket);
    await disk.device.write!(0, [randomBytes(BLOCK)], 0);
    await disk.device.flush!(0);
    await disk.device.write!(0, [pattern(BLOCK, 1)], 0);
    await disk.device.flush!(0);
    const versions = logKeys(bucket).map((key) => bucket.objects.get(key)!.body.readUInt32LE(8));
    expect(versions).toEqual([1, 2]);
  });

  it.each([
    ['that holds more than it should', zstdCompressSync(Buffer.alloc(MIB)), Codec.ZSTD],
    ['that holds less than it should', zstdCompressSync(Buffer.alloc(100)), Codec.ZSTD],
    ['that wants much memory', hugeWindow(), Codec.ZSTD],
    ['that is not compressed', randomBytes(1000), Codec.ZSTD],
    ['of LZ4 that holds more than it should', lz4Of(Buffer.alloc(MIB)), Codec.LZ4],
    ['of LZ4 that holds less than it should', lz4Of(Buffer.alloc(100)), Codec.LZ4],
    ['of LZ4 that refers to what is before it', Buffer.from([0x0f, 0xff, 0xff, 0x00]), Codec.LZ4],
    ['of Zstandard that calls itself LZ4', zstdCompressSync(Buffer.alloc(FRAME)), Codec.LZ4],
    ['of LZ4 that calls itself Zstandard', lz4Of(Buffer.alloc(FRAME)), Codec.ZSTD],
  ])('answers with an error a frame %s', async (_name, frame, codec) => {
    const bucket = await newVolume(MIB, ZSTD);
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(FRAME, 1)], 0);
      await disk.device.flush!(0);
    }
    replaceFrame(bucket, frame, codec);
    await using disk = await opened(bucket);
    await expect(readAll(disk.device, 0, BLOCK)).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('cannot be decoded'),
    });
  });

  it('is not opened where an object is stored in a way that is not known', async () => {
    const bucket = await newVolume(MIB, ZSTD);
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(FRAME, 1)], 0);
      await disk.device.flush!(0);
    }
    const key = logKeys(bucket).at(-1)!;
    const whole = bucket.objects.get(key)!;
    replaceFrame(bucket, Buffer.alloc(100), 7);
    expect(await refusal(opened(bucket))).toMatchObject({
      code: 'volume.corrupt',
      why: 'a frame is stored in a way that this blockgate does not know: 7',
    });
    bucket.objects.set(key, whole);
    replaceFrame(bucket, Buffer.alloc(FRAME + 1), Codec.ZSTD);
    expect((await refusal(opened(bucket))).why).toContain('claims 16385 stored bytes');
    const start = Buffer.from(whole.body);
    start.writeUInt32LE(3, 8);
    expect(headerLength(start)).toBe('it has version 3, and this blockgate knows 1 to 2');
  });

  it('may be the parent of a clone with another one', async () => {
    const bucket = await newVolume(MIB, ZSTD);
    {
      await using disk = await opened(bucket);
      await disk.device.write!(0, [pattern(MIB, 1)], 0);
      await disk.device.flush!(0);
      await disk.device.snapshot!('one');
    }
    const clone = settings({ ...LZ4, prefix: 'disks/b' });
    await operate(bucket, (operation) => cloneVolume(operation, 'one', clone));
    const record = JSON.parse(bucket.objects.get('disks/b/volume.json')!.body.toString());
    expect(record).toMatchObject({ compression: 'lz4', requiredFeatures: ['lz4'] });
    const keysBefore = new Set(logKeys(bucket));
    await using disk = await opened(bucket, { prefix: 'disks/b', readCache: 0 });
    await disk.device.write!(0, [pattern(FRAME, 2)], 0);
    await disk.device.flush!(0);
    const added = logKeys(bucket).filter((key) => key.startsWith('disks/b/') && !keysBefore.has(key));
    expect(added.flatMap((key) => headerOf(bucket, key).frames.map(({ codec }) => codec))).toContain(
      Codec.LZ4,
    );
    expect(sameBytes(await readAll(disk.device, 0, FRAME), pattern(FRAME, 2))).toBe(true);
    const rest = await readAll(disk.device, FRAME, MIB - FRAME);
    expect(sameBytes(rest, Buffer.from(pattern(MIB, 1)).subarray(FRAME))).toBe(true);
  });

  it.each(['zstd', 'lz4'])(
    'is refused by a blockgate that lacks it, and on chunks: %s',
    async (compression) => {
      const bucket = await newVolume(MIB, { compression });
      const record = JSON.parse(bucket.objects.get('disks/a/volume.json')!.body.toString());
      expect(record).toMatchObject({ compression, requiredFeatures: [compression] });
      const chunk = { compression, layout: 'chunk', size: MIB, prefix: 'b' };
      expect((await refusal(operate(bucket, createVolume, chunk))).code).toBe('volume.unsupported');
      await newVolume(MIB, { layout: 'chunk', prefix: 'b' }, bucket);
      expect((await refusal(opened(bucket, { compression, prefix: 'b' }))).code).toBe('volume.unsupported');
    },
  );
});

/** A block of LZ4, without its length in front. */
function lz4Of(data: Buffer): Buffer {
  return lz4.compressSync(data).subarray(4);
}

/** The header of a Zstandard frame (RFC 8878, section 3.1.1) with a window of 64 MiB, and a block of one byte repeated. */
function hugeWindow(): Buffer {
  return Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 16 << 3, 0x03, 0x00, 0x02, 0x00]);
}
