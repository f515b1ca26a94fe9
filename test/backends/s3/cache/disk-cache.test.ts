import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { CacheFile } from '../../../../backends/s3/cache/cache-file.ts';
import { DiskCache } from '../../../../backends/s3/cache/disk-cache.ts';
import { s3Config } from '../../../../backends/s3/config.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import { withStore } from '../../../../backends/s3/operation.ts';
import { createVolume, deleteVolume } from '../../../../backends/s3/volumes.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import { MemoryLogger } from '../../../support/fake-device.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE, KIB, MIB, pattern, readAll, sameBytes } from '../harness.ts';

const SIZE = 16 * MIB;
const keyOf = (name: string) => Buffer.from(name.padEnd(16, '.'));
const frame = (tag: number, length = 16 * KIB) => Buffer.from(pattern(length, tag));

async function cacheIn(folder: string, size = SIZE) {
  const logger = new MemoryLogger();
  const cache = (await DiskCache.open(folder, size, logger))!;
  return { cache, logger, [Symbol.asyncDispose]: () => cache[Symbol.asyncDispose]() };
}

describe('the cache on disk', () => {
  it('has after a restart what it had before, of any length', async () => {
    using folder = tempFolder();
    const frames = Array.from({ length: 20 }, (_, i) => frame(i + 1, i % 3 === 0 ? 400 : 16 * KIB));
    {
      await using first = await cacheIn(folder.path);
      first.cache.keep(keyOf('a'), 5, frames);
    }
    await using second = await cacheIn(folder.path);
    expect(await second.cache.read(keyOf('a'), 5, 20)).toEqual(frames);
    expect(await second.cache.read(keyOf('b'), 5, 1)).toEqual([undefined]);
    expect(await second.cache.read(keyOf('a'), 24, 2)).toEqual([frames[19], undefined]);
  });

  it('takes a damaged entry for a miss, says so once, and keeps it anew', async () => {
    using folder = tempFolder();
    await using disk = await cacheIn(folder.path);
    disk.cache.keep(keyOf('a'), 0, [frame(1), frame(2), frame(3)]);
    await disk.cache.settled();
    const path = folder.file('frames');
    const bytes = await readFile(path);
    for (const tag of [1, 3]) bytes[bytes.indexOf(frame(tag)) + 100]! ^= 1;
    await writeFile(path, bytes);
    expect(await disk.cache.read(keyOf('a'), 0, 3)).toEqual([undefined, frame(2), undefined]);
    expect(await disk.cache.read(keyOf('a'), 0, 1)).toEqual([undefined]);
    expect(disk.logger.lines).toMatchObject([{ level: 'warn', message: /damaged/ }].map(expectLine));
    disk.cache.keep(keyOf('a'), 0, [frame(1)]);
    await disk.cache.settled();
    expect(await disk.cache.read(keyOf('a'), 0, 1)).toEqual([frame(1)]);
  });

  it('never answers with anything else, whatever becomes of its file', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = seededRandom(seed);
    using folder = tempFolder();
    await using disk = await cacheIn(folder.path);
    for (let i = 0; i < 40; i++) disk.cache.keep(keyOf(`o${i}`), 0, [frame(i * 2 + 1), frame(i * 2 + 2)]);
    await disk.cache.settled();
    const bytes = await readFile(folder.file('frames'));
    // Tables and slots alike: a piece of the file over another one.
    for (let i = 0; i < 300; i++) {
      const length = Math.floor(random() * 4096);
      const [from, to] = [random(), random()].map((at) => Math.floor(at * (bytes.length - 8192)) + 4096);
      bytes.copy(bytes, to, from, from! + length);
    }
    await writeFile(folder.file('frames'), bytes);
    for (let i = 0; i < 40; i++) {
      const found = await disk.cache.read(keyOf(`o${i}`), 0, 2);
      for (const [j, one] of found.entries())
        if (one !== undefined) expect(one.equals(frame(i * 2 + 1 + j)), `seed ${seed}`).toBe(true);
    }
  });

  it('stays within its size, and keeps what is used', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = seededRandom(seed);
    using folder = tempFolder();
    const file = await CacheFile.open(folder.path, SIZE);
    const hot = keyOf('hot');
    await file.write(hot, 0, [frame(7)]);
    for (let i = 0; i < 1200; i++) {
      const count = 1 + Math.floor(random() * 8);
      await file.write(keyOf(`${Math.floor(random() * 2 ** 40)}`), Math.floor(random() * 1000), [
        ...new Array<Buffer>(count).fill(frame(i, 512)),
      ]);
      const [found] = (await file.read(hot, 0, 1)).frames;
      expect(found?.equals(frame(7)), `seed ${seed}`).toBe(true);
    }
    const { size, blocks } = statSync(folder.file('frames'));
    expect(size).toBeLessThanOrEqual(SIZE);
    expect(blocks * 512).toBeLessThanOrEqual(SIZE);
    await file.close();
  });

  it('is shared by disks, and keeps its size while another one uses it', async () => {
    using folder = tempFolder();
    await using first = await cacheIn(folder.path);
    await using second = await cacheIn(folder.path, 64 * MIB);
    expect(second.logger.lines).toMatchObject([{ level: 'warn', message: /another size/ }].map(expectLine));
    first.cache.keep(keyOf('a'), 0, [frame(1)]);
    second.cache.keep(keyOf('b'), 0, [frame(2)]);
    await Promise.all([first.cache.settled(), second.cache.settled()]);
    expect(await second.cache.read(keyOf('a'), 0, 1)).toEqual([frame(1)]);
    expect(await first.cache.read(keyOf('b'), 0, 1)).toEqual([frame(2)]);
    expect(statSync(folder.file('frames')).size).toBeLessThanOrEqual(SIZE);
  });

  it('costs nothing but itself when its file system is full, and is tried again', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    try {
      using folder = tempFolder();
      const file = await CacheFile.open(folder.path, SIZE);
      const logger = new MemoryLogger();
      await using cache = new DiskCache(file, logger);
      const write = vi.spyOn(file, 'write').mockRejectedValue(new Error('ENOSPC: no space left on device'));
      cache.keep(keyOf('a'), 0, [frame(1)]);
      await cache.settled();
      cache.keep(keyOf('a'), 0, [frame(1)]);
      await cache.settled();
      expect(write).toHaveBeenCalledTimes(1);
      expect(await cache.read(keyOf('a'), 0, 1)).toEqual([]);
      expect(logger.lines.map(({ message }) => message)).toEqual([
        'the cache on disk fails; the disk goes on without it',
      ]);
      expect(cache.status()).toContain('FAILING');
      write.mockRestore();
      vi.advanceTimersByTime(11_000);
      cache.keep(keyOf('a'), 0, [frame(1)]);
      await cache.settled();
      expect(await cache.read(keyOf('a'), 0, 1)).toEqual([frame(1)]);
      expect(logger.lines).toHaveLength(1);
      vi.advanceTimersByTime(600_000);
      cache.keep(keyOf('a'), 0, [frame(1)]);
      await cache.settled();
      expect(logger.lines.at(-1)!.message).toBe('the cache on disk works again');
    } finally {
      vi.useRealTimers();
    }
  });

  it('bounds what waits to be written', async () => {
    using folder = tempFolder();
    await using disk = await cacheIn(folder.path);
    const many = Array.from({ length: 128 }, (_, i) => frame(i + 1));
    for (let i = 0; i < 10; i++) disk.cache.keep(keyOf(`o${i}`), 0, many);
    await disk.cache.settled();
    expect(disk.cache.status()).toContain(`${6 * 128} not kept`);
  });

  it('has nothing wrong after its process was killed while it wrote', async () => {
    using folder = tempFolder();
    const program = `
      const { CacheFile } = await import(${JSON.stringify(join(import.meta.dirname, '../../../../backends/s3/cache/cache-file.ts'))});
      const file = await CacheFile.open(${JSON.stringify(folder.path)}, ${SIZE});
      for (let i = 0; ; i++) {
        const n = i % 500;
        await file.write(Buffer.from(String(n).padEnd(16, '.')), 0, [0, 1, 2].map((j) => Buffer.alloc(16384, n % 250 + j)));
        if (i === 200) console.log('busy');
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    await using disk = await cacheIn(folder.path);
    let hits = 0;
    for (let n = 0; n < 500; n++)
      for (const [j, found] of (await disk.cache.read(keyOf(String(n)), 0, 3)).entries()) {
        if (found === undefined) continue;
        hits++;
        expect(found.equals(Buffer.alloc(16384, (n % 250) + j))).toBe(true);
      }
    expect(hits).toBeGreaterThan(100);
  });

  it.each([
    ['of another program', Buffer.from('frames of a film'.repeat(1000))],
    ['that begins with zeros', Buffer.concat([Buffer.alloc(65_536), Buffer.from('_BHRfS_M')])],
    ['that is short', Buffer.from('1')],
  ])('leaves a file alone that only has its name: one %s', async (_, content) => {
    using folder = tempFolder();
    await writeFile(folder.file('frames'), content);
    await expect(CacheFile.open(folder.path, SIZE)).rejects.toThrow(
      /frames is not the file of a cache; delete it/,
    );
    expect((await readFile(folder.file('frames'))).equals(content)).toBe(true);
  });

  it.each([
    ['nothing', 0, 0],
    ['a page that never reached the disk', 0, 4096],
    ['a page', 4096, 4096],
    ['a cache of another size', 4096, 64 * MIB],
  ])('goes on where its division was interrupted, which leaves %s', async (_, kept, size) => {
    using folder = tempFolder();
    await (await CacheFile.open(folder.path, SIZE)).close();
    await truncate(folder.file('frames'), kept);
    await truncate(folder.file('frames'), size);
    await using disk = await cacheIn(folder.path);
    disk.cache.keep(keyOf('a'), 0, [frame(1)]);
    await disk.cache.settled();
    expect(await disk.cache.read(keyOf('a'), 0, 1)).toEqual([frame(1)]);
  });

  it('says why there is none, and the disk goes on', async () => {
    using folder = tempFolder();
    await writeFile(folder.file('file'), '');
    const logger = new MemoryLogger();
    expect(await DiskCache.open(folder.file('file'), SIZE, logger)).toBeUndefined();
    expect(logger.lines.map(({ level }) => level)).toEqual(['warn']);
  });
});

const expectLine = ({ level, message }: { level: string; message: RegExp }) => ({
  level,
  message: expect.stringMatching(message),
});

describe('a disk with a cache on disk', () => {
  function settings(folder: string, options: Record<string, unknown> = {}) {
    return s3Config.parse({
      bucket: 'bucket',
      prefix: 'disks/a',
      diskCache: { path: folder, size: SIZE },
      ...options,
    });
  }

  async function opened(bucket: FakeBucket, folder: string) {
    const store = new FakeStore(bucket);
    const device = await openVolume(store, settings(folder), context(), HASTE);
    store.requests.length = 0;
    return { store, device, [Symbol.asyncDispose]: () => device[Symbol.asyncDispose]() };
  }

  async function filled(bucket: FakeBucket, folder: string, tag: number): Promise<void> {
    await withStore(new FakeStore(bucket), settings(folder, { size: 16 * MIB }), context(), createVolume);
    await using disk = await opened(bucket, folder);
    await disk.device.write!(0, [pattern(MIB, tag)], 0);
    await disk.device.flush!(0);
  }

  it('reads no data from the store that it has read before, in another process', async () => {
    using folder = tempFolder();
    const bucket = new FakeBucket();
    await filled(bucket, folder.path, 1);
    for (const requests of [expect.any(Number), 0]) {
      await using disk = await opened(bucket, folder.path);
      expect(sameBytes(await readAll(disk.device, 0, MIB), pattern(MIB, 1))).toBe(true);
      expect(disk.store.count('read', '/log/')).toEqual(requests);
      expect(disk.device.status!()['disk cache']).toMatch(/^\d+ hits/);
    }
  });

  it('does not take the data of a volume that was there before', async () => {
    using folder = tempFolder();
    const bucket = new FakeBucket();
    for (const tag of [1, 2]) {
      await filled(bucket, folder.path, tag);
      {
        await using disk = await opened(bucket, folder.path);
        expect(sameBytes(await readAll(disk.device, 0, MIB), pattern(MIB, tag))).toBe(true);
      }
      await withStore(new FakeStore(bucket), settings(folder.path), context(), (operation) =>
        deleteVolume(operation, { force: false, progress: () => undefined }),
      );
    }
  });
});
