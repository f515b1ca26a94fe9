import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as delay, setImmediate } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { s3Config } from '../../../../backends/s3/config.ts';
import { Journal } from '../../../../backends/s3/log/journal/journal.ts';
import { JournalFile } from '../../../../backends/s3/log/journal/journal-file.ts';
import type { JournalStorage } from '../../../../backends/s3/log/journal/storage.ts';
import { openVolume } from '../../../../backends/s3/open.ts';
import { withStore } from '../../../../backends/s3/operation.ts';
import { StoreError } from '../../../../backends/s3/store/store-error.ts';
import { createVolume, resizeVolume } from '../../../../backends/s3/volumes.ts';
import { BlockError, type GatewayError, type OpenContext } from '../../../../core/plugin.ts';
import { MemoryLogger } from '../../../support/fake-device.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';
import { context, HASTE, KIB, MIB, pattern, readAll, sameBytes } from '../harness.ts';

const BLOCK = 4 * KIB;
const VOLUME = Buffer.alloc(16, 7);
const [NONCE, SESSION] = [Buffer.alloc(16, 1), Buffer.alloc(16, 2)];

/** A disk that loses, when its power fails, any of what was written and not synchronized; by sector. */
class FakeDisk implements JournalStorage {
  readonly path = 'journal';
  readonly size: number;
  readonly #durable: Buffer;
  readonly #now: Buffer;
  #dirty = new Set<number>();
  fails = false;

  constructor(size: number, content?: Buffer) {
    this.size = size;
    this.#durable = Buffer.alloc(size);
    content?.copy(this.#durable);
    this.#now = Buffer.from(this.#durable);
  }

  async read(at: number, length: number): Promise<Buffer> {
    return Buffer.from(this.#now.subarray(at, at + length));
  }

  async write(at: number, pieces: readonly Buffer[]): Promise<void> {
    await setImmediate();
    if (this.fails) throw new Error('EIO: i/o error, write');
    let position = at;
    for (const piece of pieces) {
      piece.copy(this.#now, position);
      position += piece.length;
    }
    for (let sector = Math.floor(at / 512); sector * 512 < position; sector++) this.#dirty.add(sector);
  }

  async sync(): Promise<void> {
    const dirty = this.#dirty;
    this.#dirty = new Set();
    await setImmediate();
    if (this.fails) throw new Error('EIO: i/o error, fdatasync');
    for (const sector of dirty) this.#now.copy(this.#durable, sector * 512, sector * 512, sector * 512 + 512);
  }

  async close(): Promise<void> {}

  /** What is there when the power comes back. `luck`: for each sector that was not synchronized, whether it arrived. */
  afterPowerFailure(luck: () => boolean): FakeDisk {
    const content = Buffer.from(this.#durable);
    for (const sector of this.#dirty)
      if (luck()) this.#now.copy(content, sector * 512, sector * 512, sector * 512 + 512);
    return new FakeDisk(this.size, content);
  }

  /** What is there when only the process died. */
  afterKill(): FakeDisk {
    return new FakeDisk(this.size, this.#now);
  }
}

async function fileOn(disk: JournalStorage): Promise<JournalFile> {
  const file = await JournalFile.read(disk, VOLUME);
  if (typeof file === 'string') throw new Error(file);
  return file;
}

function journalOn(file: JournalFile, options: Partial<ConstructorParameters<typeof Journal>[0]> = {}) {
  const calls: string[] = [];
  const journal = new Journal({
    file,
    maxLagBytes: Number.POSITIVE_INFINITY,
    maxLagMs: Number.POSITIVE_INFINITY,
    logger: new MemoryLogger(),
    throwIfFailed: () => undefined,
    hurry: () => void calls.push('hurry'),
    abandon: async () => void calls.push('abandon'),
    store: async () => void calls.push('store'),
    ...options,
  });
  return { journal, calls };
}

/** What a replay of the journal makes of a disk with these blocks: one number for each. */
async function replayed(file: JournalFile, before: readonly number[]): Promise<number[]> {
  const state = [...before];
  await file.replay(async ({ lba, blocks: count, data }) => {
    for (let i = 0; i < count; i++) state[lba + i] = data === undefined ? 0 : data.readUInt32LE(i * BLOCK);
  });
  return state;
}

const numbered = (value: number, blocks: number) => [pattern(blocks * BLOCK, value)];

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

describe('a journal', () => {
  it('has after a power failure everything that was flushed, and nothing that was not written', async () => {
    const first = Math.floor(Math.random() * 2 ** 31);
    for (let seed = first; seed < first + 25; seed++) {
      const below = random(seed);
      const disk = new FakeDisk(8192 + 2 * MIB);
      const file = await fileOn(disk);
      await file.reset(NONCE, SESSION);
      const BLOCKS = 24;
      const { journal } = journalOn(file);
      const now = new Array<number>(BLOCKS).fill(0);
      /** By block: every value that it may have after a power failure. */
      let may = now.map((value) => new Set([value]));
      let stored = [...now];
      let seq = 1;
      const open: Promise<unknown>[] = [];
      for (let step = 1; step < 300; step++) {
        const lba = below(BLOCKS);
        const blocks = 1 + below(Math.min(4, BLOCKS - lba));
        const value = below(8) === 0 ? 0 : step;
        for (let i = lba; i < lba + blocks; i++) {
          now[i] = value;
          may[i]!.add(value);
        }
        open.push(
          value === 0
            ? journal.zero(seq, lba, blocks)
            : journal.write(seq, lba, blocks, numbered(value, blocks), 0),
        );
        if (below(4) === 0) await Promise.all(open.splice(0));
        if (below(6) === 0) {
          await journal.flush();
          may = now.map((is) => new Set([is]));
        }
        if (below(10) === 0) {
          await Promise.all(open.splice(0));
          // Before the store gets it.
          await journal.ahead();
          may = now.map((is) => new Set([is]));
          stored = [...now];
          journal.release(seq++);
        }
        if (below(200) === 0) break;
      }
      const state = await replayed(await fileOn(disk.afterPowerFailure(() => below(2) === 0)), stored);
      for (const [block, value] of state.entries())
        expect(may[block], `seed ${seed}, block ${block}`).toContain(value);
      await Promise.all(open);
    }
  });

  it('has after a kill everything that was answered', async () => {
    const disk = new FakeDisk(8192 + MIB);
    const file = await fileOn(disk);
    await file.reset(NONCE, SESSION);
    const { journal } = journalOn(file);
    for (let i = 0; i < 20; i++) await journal.write(1, i, 1, numbered(i + 1, 1), 0);
    await journal.zero(1, 3, 2);
    const again = await fileOn(disk.afterKill());
    const expected = Array.from({ length: 20 }, (_, i) => (i === 3 || i === 4 ? 0 : i + 1));
    expect(await replayed(again, new Array(20).fill(0))).toEqual(expected);
  });

  it('goes around in its ring, and waits while it is full', async () => {
    const disk = new FakeDisk(8192 + 128 * KIB);
    const file = await fileOn(disk);
    await file.reset(NONCE, SESSION);
    const { journal, calls } = journalOn(file);
    for (let seq = 1; seq <= 100; seq++) {
      await journal.write(seq, seq % 10, 3, numbered(seq, 3), 0);
      if (seq > 2) journal.release(seq - 2);
    }
    expect(calls).toEqual([]);
    const waiting = Array.from({ length: 20 }, (_, i) => journal.write(101 + i, i, 3, numbered(1, 3), 0));
    let done = false;
    const all = Promise.all(waiting).then(() => {
      done = true;
    });
    await delay(20);
    expect(done).toBe(false);
    expect(calls).toContain('hurry');
    for (let seq = 99; seq <= 120; seq++) {
      journal.release(seq);
      await delay(2);
    }
    await all;
  });

  it('lets nothing be answered while the store is too far behind, in bytes or in time', async () => {
    for (const limit of [{ maxLagBytes: 64 * KIB }, { maxLagMs: 30 }]) {
      const file = await fileOn(new FakeDisk(8192 + MIB));
      await file.reset(NONCE, SESSION);
      const { journal } = journalOn(file, limit);
      await journal.write(1, 0, 12, numbered(1, 12), 0);
      await delay(40);
      let isDone = false;
      const late = journal.write(2, 0, 12, numbered(2, 12), 0).then(() => {
        isDone = true;
      });
      await delay(20);
      expect(isDone).toBe(false);
      journal.release(1);
      await late;
    }
  });

  it('has the store answer in its place once it cannot be written', async () => {
    const disk = new FakeDisk(8192 + MIB);
    const file = await fileOn(disk);
    await file.reset(NONCE, SESSION);
    const { journal, calls } = journalOn(file);
    await journal.write(1, 0, 1, numbered(1, 1), 0);
    disk.fails = true;
    await Promise.all([journal.write(1, 1, 1, numbered(2, 1), 0), journal.flush()]);
    expect(calls[0]).toBe('abandon');
    expect(calls.slice(1)).toEqual(['store', 'store']);
    await journal.write(1, 2, 1, numbered(3, 1), 0);
    await journal.flush();
    expect(calls).toHaveLength(5);
    expect(journal.failure?.message).toContain('EIO');
  });

  it('answers nothing any more when the disk has failed, and waits for nothing when it is stopped', async () => {
    const file = await fileOn(new FakeDisk(8192 + 64 * KIB));
    await file.reset(NONCE, SESSION);
    const reason = new BlockError('EIO', 'FENCED');
    let isFenced = false;
    const { journal } = journalOn(file, {
      throwIfFailed: () => {
        if (isFenced) throw reason;
      },
    });
    await journal.write(1, 0, 8, numbered(1, 8), 0);
    // No room for it.
    const waiting = journal.write(1, 0, 12, numbered(2, 12), 0);
    waiting.catch(() => undefined);
    isFenced = true;
    await journal.stop(reason);
    await expect(waiting).rejects.toBe(reason);
  });

  it('does not destroy what is no journal', async () => {
    const other = Buffer.alloc(64 * KIB);
    other.write('ext4 or whatever', 1080);
    expect(await JournalFile.read(new FakeDisk(64 * KIB, other), VOLUME)).toMatch(/not empty/);
    const disk = new FakeDisk(64 * KIB);
    await (await fileOn(disk)).reset(NONCE, SESSION);
    expect(await JournalFile.read(disk, Buffer.alloc(16, 9))).toMatch(/another volume/);
  });
});

describe('a volume with a journal', () => {
  const folder = tempFolder();
  afterAll(() => folder[Symbol.dispose]());
  let journals = 0;
  const journalPath = () => folder.file(`journal-${++journals}`);
  const settings = (journal: string | undefined, options: Record<string, unknown> = {}) =>
    s3Config.parse({
      ...{ bucket: 'bucket', prefix: 'disks/a', ...options },
      ...(journal !== undefined && { flush: 'local', journal: { path: journal, size: '32MiB' } }),
    });

  async function newVolume(): Promise<FakeBucket> {
    const bucket = new FakeBucket();
    await withStore(new FakeStore(bucket), settings(undefined, { size: 16 * MIB }), context(), createVolume);
    return bucket;
  }

  async function opened(
    bucket: FakeBucket,
    journal: string | undefined,
    open: Partial<OpenContext> = {},
    options = {},
  ) {
    const store = new FakeStore(bucket);
    const ctx = context(open);
    const device = await openVolume(store, settings(journal, options), ctx, HASTE);
    return { store, device, ctx, [Symbol.asyncDispose]: () => device[Symbol.asyncDispose]() };
  }

  const refusal = (attempt: Promise<unknown>): Promise<GatewayError> =>
    attempt.then(
      () => expect.fail('it was not refused'),
      (error: GatewayError) => error,
    );

  /** As when the process is killed: the journal as it is then, and the bucket. */
  async function killed(disk: Awaited<ReturnType<typeof opened>>, journal: string): Promise<string> {
    const copy = journalPath();
    copyFileSync(journal, copy);
    disk.store.kill();
    disk.ctx.stop();
    await Promise.resolve(disk.device[Symbol.asyncDispose]()).catch(() => undefined);
    return copy;
  }

  it('answers flushes while the store is away, and has everything after a kill', async () => {
    const bucket = await newVolume();
    const journal = journalPath();
    const disk = await opened(bucket, journal);
    expect(disk.device.info.caps?.writeCache).toBeUndefined();
    await disk.device.write!(0, [pattern(MIB, 1)], 0);
    await disk.device.flush!(0);
    disk.store.broken = new StoreError('unreachable', 'the store is away');
    await disk.device.write!(MIB, [pattern(BLOCK, 2)], 0);
    await disk.device.flush!(0);
    await disk.device.write!(MIB + 512, [pattern(512, 3)], 0);
    await disk.device.writeZeroes!(8 * KIB, 8 * KIB, 0);
    expect(disk.device.status!()).toMatchObject({ journal: expect.stringContaining('not stored') });
    const copy = await killed(disk, journal);
    {
      await using readOnly = await opened(bucket, undefined, { readOnly: true });
      const shown = { journal, host: hostname() };
      expect(readOnly.ctx.logger.lines).toMatchObject([
        { level: 'warn', message: /in a journal.*not shown/, fields: shown },
      ]);
    }
    // The bucket knows nothing of it, and the volume is not to be had without the journal.
    expect((await refusal(opened(bucket, undefined))).code).toMatch(/volume\.(owned|journal-missing)/);
    await using again = await opened(bucket, copy, { takeOver: true });
    const expected = Buffer.concat([pattern(MIB, 1), pattern(BLOCK, 2)]);
    expected.fill(pattern(512, 3), MIB + 512, MIB + 1024);
    expected.fill(0, 8 * KIB, 16 * KIB);
    expect(sameBytes(await readAll(again.device, 0, MIB + BLOCK), expected)).toBe(true);
    expect(again.ctx.logger.lines.map(({ message }) => message)).toContain(
      'what was in the journal is stored',
    );
  });

  it('needs the journal no more once it was stopped', async () => {
    const bucket = await newVolume();
    {
      await using disk = await opened(bucket, journalPath());
      await disk.device.write!(0, [pattern(MIB, 1)], 0);
      await disk.device.flush!(0);
    }
    await using again = await opened(bucket, undefined);
    expect(sameBytes(await readAll(again.device, 0, MIB), pattern(MIB, 1))).toBe(true);
  });

  it('is refused without its journal, and with one of another past', async () => {
    const bucket = await newVolume();
    const journal = journalPath();
    const disk = await opened(bucket, journal);
    disk.store.broken = new StoreError('unreachable', 'the store is away');
    await disk.device.write!(0, [pattern(BLOCK, 1)], 0);
    await disk.device.flush!(0);
    const copy = await killed(disk, journal);
    // Also to whoever would change it in other ways.
    const resize = withStore(
      new FakeStore(bucket),
      settings(undefined),
      context({ takeOver: true }),
      (operation) => resizeVolume(operation, 32 * MIB),
    );
    expect((await refusal(resize)).code).toMatch(/volume\.(owned|journal-missing)/);
    {
      await using other = await opened(bucket, undefined, { takeOver: true });
      await other.device.write!(0, [pattern(BLOCK, 2)], 0);
      await other.device.flush!(0);
    }
    const error = await refusal(opened(bucket, copy));
    expect(error.code).toBe('volume.journal-diverged');
    expect(error.fix).toContain('Move the journal away');
    await using fresh = await opened(bucket, journalPath());
    expect(sameBytes(await readAll(fresh.device, 0, BLOCK), pattern(BLOCK, 2))).toBe(true);
  });

  it('is replayed again when whoever replays it dies as well', async () => {
    const bucket = await newVolume();
    const journal = journalPath();
    const disk = await opened(bucket, journal);
    disk.store.broken = new StoreError('unreachable', 'the store is away');
    for (let i = 0; i < 64; i++) await disk.device.write!(i * BLOCK, [pattern(BLOCK, i + 1)], 0);
    await disk.device.flush!(0);
    const copy = await killed(disk, journal);
    const store = new FakeStore(bucket);
    // Dies with its first object of the log on its way.
    store.gate = (operation, key) => {
      if (operation !== 'put' || !/\/log\//.test(key)) return undefined;
      store.kill();
      return Promise.reject(new StoreError('rejected', 'killed'));
    };
    const secondCopy = journalPath();
    copyFileSync(copy, secondCopy);
    await openVolume(store, settings(copy), context({ takeOver: true }), HASTE)
      .then(async (device) => device[Symbol.asyncDispose]())
      .catch(() => undefined);
    await using again = await opened(bucket, secondCopy, { takeOver: true });
    for (let i = 0; i < 64; i++)
      expect(sameBytes(await readAll(again.device, i * BLOCK, BLOCK), pattern(BLOCK, i + 1))).toBe(true);
  });

  it('refuses a file of somebody else, and a place where none can be', async () => {
    const bucket = await newVolume();
    writeFileSync(folder.file('text'), 'something of somebody else'.repeat(1000));
    for (const path of ['text', 'nowhere/journal'])
      expect((await refusal(opened(bucket, folder.file(path)))).code).toBe('volume.journal-unusable');
    expect(readFileSync(folder.file('text'), 'utf8')).toContain('something of somebody else');
    // Nobody has the volume.
    await using disk = await opened(bucket, undefined);
    expect(disk.device.status!()).toMatchObject({ state: 'ok' });
  });

  it('refuses a configuration that makes no sense', () => {
    const issues = (options: object) =>
      s3Config
        .safeParse({ bucket: 'bucket', prefix: 'a', ...options })
        .error?.issues.map(({ message }) => message);
    expect(issues({ flush: 'local' })).toEqual(['"local" needs a "journal": { "path": … } on this machine']);
    expect(issues({ maxLagMs: 1000 })).toEqual(['"maxLagMs" is for "flush": "local"']);
    expect(issues({ flush: 'local', journal: { path: 'j' }, layout: 'chunk' })).toEqual([
      '"local" is for volumes with the layout "log"',
    ]);
  });
});
