import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { redisConfig } from '../../backends/redis/config.ts';
import redis from '../../backends/redis/index.ts';
import { SCRIPTS } from '../../backends/redis/scripts.ts';
import type { OpenContext } from '../../core/api/backend.ts';
import type { BlockDevice } from '../../core/api/device.ts';
import { seededRandom } from '../../core/util/random.ts';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { openContext } from '../support/plugin-context.ts';
import { AOF, RedisServer } from '../support/redis-servers.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { ensureValkey } from '../support/valkey.ts';

/** Many writes at a time in the redis backend, which go in transactions, against real servers. */

const BLOCK = 4096;
const CHUNK = 65536;
const SIZE = 2 ** 20;
const BLOCKS = SIZE / BLOCK;
const LANES = 48;

beforeAll(async () => {
  await ensureDebianPackages(['redis-server'], (line) => process.stderr.write(`${line}\n`));
});

let folder: ReturnType<typeof tempFolder>;
let owned: AsyncDisposableStack;

beforeEach(() => {
  folder = tempFolder();
  owned = new AsyncDisposableStack();
  owned.defer(() => folder[Symbol.dispose]());
});

afterEach(() => owned.disposeAsync());

const serve = async (config: readonly string[] = AOF): Promise<RedisServer> =>
  owned.use(await RedisServer.start(folder.file('redis'), config));

async function open(config: object, overrides: Partial<OpenContext> = {}): Promise<BlockDevice> {
  const parsed = redisConfig.parse({ volume: 'vol', size: SIZE, ...config });
  return owned.use(await redis.open(parsed, openContext(folder.path, overrides)));
}

/** Every chunk is there: only then writes go in transactions. */
async function filled(config: object, byte: number): Promise<BlockDevice> {
  const device = await open(config);
  await device.write!(0, [Buffer.alloc(SIZE, byte)], 0);
  return device;
}

const seedOf = (): number => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  process.stderr.write(`seed ${seed}\n`);
  return seed;
};

async function write(device: BlockDevice, at: number, byte: number): Promise<void> {
  await device.write!(at * BLOCK, [Buffer.alloc(BLOCK, byte)], 0);
}

async function read(device: BlockDevice, at: number, length = BLOCK): Promise<Buffer> {
  const bytes = Buffer.alloc(length, 0xa5);
  await device.read(at * BLOCK, [bytes.subarray(0, 100), bytes.subarray(100)], 0);
  return bytes;
}

const stateOf = (device: BlockDevice) => String(device.status!()['state']);

async function transactions(server: RedisServer): Promise<number> {
  const stats = await server.cli('INFO', 'commandstats');
  return Number(/cmdstat_exec:calls=(\d+)/.exec(stats)?.[1] ?? 0);
}

/** Writes `byte` all over the device, until `stop`. Settles with the failures. */
function load(device: BlockDevice, byte: number, seed: number) {
  const random = seededRandom(seed);
  const failures: unknown[] = [];
  let over = false;
  const lane = async (): Promise<void> => {
    while (!over && failures.length < 1000)
      await write(device, Math.floor(random() * BLOCKS), byte).catch((error) => failures.push(error));
  };
  const lanes = Promise.all(Array.from({ length: LANES }, lane));
  return {
    failures,
    async stop(): Promise<unknown[]> {
      over = true;
      await lanes;
      return failures;
    },
  };
}

describe('writes in transactions', () => {
  it('of a gateway that was fenced while they were under way change nothing any more', async () => {
    const seed = seedOf();
    const server = await serve([]);
    const config = { address: server.address, durability: 'memory' };
    const first = await filled(config, 1);
    const writing = load(first, 1, seed);
    await delay(200);
    const second = await open(config, { takeOver: true });
    const all = Array.from({ length: BLOCKS }, (_, at) => write(second, at, 2));
    await Promise.all(all);
    await second.flush!(0);
    const failures = await writing.stop();
    expect(failures.length).toBeGreaterThan(0);
    expect(failures[0]).toMatchObject({ code: 'EIO', message: expect.stringContaining('another gateway') });
    expect(stateOf(first)).toBe('failed');
    expect((await read(second, 0, SIZE)).equals(Buffer.alloc(SIZE, 2))).toBe(true);
    expect(stateOf(second)).toBe('connected');
    expect(await transactions(server)).toBeGreaterThan(0);
  });

  it('bring nothing back that FLUSHALL has deleted', async () => {
    const seed = seedOf();
    const server = await serve([]);
    const device = await filled({ address: server.address, durability: 'memory' }, 1);
    const writing = load(device, 2, seed);
    await delay(200);
    expect(await transactions(server)).toBeGreaterThan(0);
    await server.cli('FLUSHALL');
    const failures = await writing.stop();
    await expect(write(device, 0, 3)).rejects.toMatchObject({ code: 'EIO' });
    expect(failures.every((error) => (error as { code: string }).code === 'EIO')).toBe(true);
    expect(stateOf(device)).toBe('failed');
    expect(await server.cli('--scan', '--pattern', '*:c:*')).toBe('');
  });

  it('do not make a chunk again that is missing, and go on elsewhere', async () => {
    const seed = seedOf();
    const server = await serve([]);
    const device = await filled({ address: server.address, durability: 'memory' }, 1);
    const writing = load(device, 2, seed);
    await delay(100);
    await server.cli('DEL', 'bg:{vol:0}:c:3');
    await delay(100);
    const failures = await writing.stop();
    expect(failures.length).toBeGreaterThan(0);
    for (const error of failures)
      expect(error).toMatchObject({ code: 'EIO', message: expect.stringContaining('c:3') });
    const perChunk = CHUNK / BLOCK;
    const both = [3 * perChunk, 4 * perChunk].flatMap((start) =>
      Array.from({ length: perChunk }, (_, i) => write(device, start + i, 5)),
    );
    const results = await Promise.allSettled(both);
    expect(results.map(({ status }) => status)).toEqual([
      ...Array.from({ length: perChunk }, () => 'rejected'),
      ...Array.from({ length: perChunk }, () => 'fulfilled'),
    ]);
    await expect(read(device, 3 * perChunk)).rejects.toMatchObject({ code: 'EIO' });
    expect(await server.cli('EXISTS', 'bg:{vol:0}:c:3')).toBe('0');
    expect(stateOf(device)).toBe('connected');
  });

  it('that overlap leave what was read after them, whenever the server is killed', {
    timeout: 120_000,
  }, async () => {
    const seed = seedOf();
    const random = seededRandom(seed);
    const server = await serve();
    const device = await filled({ address: server.address }, 0);
    const half = BLOCK / 2;
    /** What was read of each half block. */
    const known = new Map<number, number>();
    let byte = 0;
    let seen = 0;
    const check = async (at: number): Promise<void> => {
      const bytes = await read(device, at);
      for (const [part, start] of [2 * at, 2 * at + 1].map((n, i) => [n, i * half] as const)) {
        const want = known.get(part) ?? 0;
        expect(
          bytes.subarray(start, start + half).equals(Buffer.alloc(half, want)),
          `seed ${seed}, half block ${part}`,
        ).toBe(true);
      }
    };
    for (let round = 0; round < 60; round++) {
      // Few places, each of them several times: the same, and half of two.
      const places = Array.from({ length: 6 }, () => Math.floor(random() * 40));
      const writes: Promise<void>[] = [];
      const candidates = new Map<number, Set<number>>();
      for (let i = 0; i < 40; i++) {
        byte = (byte % 250) + 1;
        const part = 2 * places[Math.floor(random() * places.length)]! + Math.floor(random() * 2);
        for (const half of [part, part + 1])
          candidates.set(half, (candidates.get(half) ?? new Set()).add(byte));
        writes.push(Promise.resolve(device.write!(part * half, [Buffer.alloc(BLOCK, byte)], 0)));
      }
      const kill = round % 6 === 3;
      if (kill) await Promise.all([server.kill9(), delay(random() * 5)]);
      if (kill) await server.start();
      await Promise.all(writes);
      for (const [part, bytes] of candidates) {
        const now = Buffer.alloc(half);
        await device.read(part * half, [now], 0);
        expect(bytes.has(now[0]!) && now.equals(Buffer.alloc(half, now[0])), `seed ${seed}`).toBe(true);
        known.set(part, now[0]!);
      }
      if (round % 10 === 9) await device.flush!(0);
      if (round % 6 === 5) {
        seen += await transactions(server);
        await server.kill9();
        await server.start();
        for (let at = 0; at < 41; at++) await check(at);
      }
    }
    expect(device.status!()['recoveries']).toBeGreaterThan(5);
    expect(seen).toBeGreaterThan(0);
  });

  it('are scripts for a user who may not use transactions', async () => {
    writeFileSync(folder.file('password'), 'sesame');
    const server = await serve([
      'user default on nopass ~* +@all',
      'user disk on >sesame ~bg:{vol:* -@all +@read +@write +@scripting +@connection +info +wait',
    ]);
    const device = await filled(
      { address: server.address, durability: 'memory', username: 'disk', password: { file: 'password' } },
      1,
    );
    await Promise.all(Array.from({ length: BLOCKS }, (_, at) => write(device, at, 2)));
    expect((await read(device, 0, SIZE)).equals(Buffer.alloc(SIZE, 2))).toBe(true);
    expect(await transactions(server)).toBe(0);
    expect(stateOf(device)).toBe('connected');
  });

  it('say so when the server is full, and go on when it is not any more', async () => {
    const server = await serve([]);
    const device = await filled({ address: server.address, durability: 'memory' }, 1);
    await server.cli('CONFIG', 'SET', 'maxmemory', '100kb');
    const all = (byte: number) =>
      Promise.allSettled(Array.from({ length: 32 }, (_, at) => write(device, at, byte)));
    for (const result of await all(2))
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'ENOSPC' } });
    await server.cli('CONFIG', 'SET', 'maxmemory', '0');
    expect((await read(device, 0, 32 * BLOCK)).equals(Buffer.alloc(32 * BLOCK, 1))).toBe(true);
    for (const result of await all(3)) expect(result.status).toBe('fulfilled');
    expect((await read(device, 0, 32 * BLOCK)).equals(Buffer.alloc(32 * BLOCK, 3))).toBe(true);
  });
});

describe('what was sent on a connection that was given up', () => {
  it('is refused once the volume was claimed again, and so is a claim', async () => {
    const server = await serve();
    const device = await filled({ address: server.address }, 1);
    const owner = () => server.cli('GET', 'bg:{vol:0}:o');
    const before = await owner();
    await server.kill9();
    await server.start();
    await write(device, 0, 2);
    const after = await owner();
    expect(after).not.toBe(before);
    const late = [SCRIPTS.bgWrite.lua, '2', 'bg:{vol:0}:o', 'bg:{vol:0}:c:0', before, '0', 'late'];
    expect(await server.cli('EVAL', ...late).catch(String)).toContain('BGFENCED');
    const [, epoch, nonce, claims] = /^(\d+):(.+)\.(\d+)$/.exec(before)!;
    await server.cli('EVAL', SCRIPTS.bgClaim.lua, '1', 'bg:{vol:0}:o', epoch!, nonce!, claims!);
    expect(await owner()).toBe(after);
    await write(device, 0, 3);
    expect(await read(device, 0)).toEqual(Buffer.alloc(BLOCK, 3));
    expect(stateOf(device)).toBe('connected');
  });
});

describe('a flush between transactions', () => {
  it('is none of their commands', { timeout: 60_000 }, async () => {
    const seed = seedOf();
    const valkey = await ensureValkey((line) => process.stderr.write(`${line}\n`));
    const server = owned.use(
      await RedisServer.start(folder.file('valkey'), ['appendonly yes', 'appendfsync everysec'], {
        program: join(valkey, 'valkey-server'),
      }),
    );
    const device = await filled({ address: server.address, window: '1MiB' }, 1);
    const writing = load(device, 2, seed);
    for (let i = 0; i < 5; i++) {
      await device.flush!(0);
      await delay(20);
    }
    expect(await writing.stop()).toEqual([]);
    await Promise.all(Array.from({ length: BLOCKS }, (_, at) => write(device, at, 3)));
    await device.flush!(0);
    await server.kill9();
    await server.start();
    expect((await read(device, 0, SIZE)).equals(Buffer.alloc(SIZE, 3))).toBe(true);
    expect(device.status!()).toMatchObject({ unflushed: '0 bytes' });
  });
});
