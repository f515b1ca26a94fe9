import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { redisConfig } from '../../backends/redis/config.ts';
import redis from '../../backends/redis/index.ts';
import type { OpenContext } from '../../core/api/backend.ts';
import type { BlockDevice } from '../../core/api/device.ts';
import { testBackend } from '../../core/testkit.ts';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { eventually } from '../core/app/rig.ts';
import { freePort } from '../support/free-port.ts';
import { makeCertificates } from '../support/nbd-servers.ts';
import { openContext } from '../support/plugin-context.ts';
import { AOF, RedisServer, startCluster } from '../support/redis-servers.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { ensureValkey } from '../support/valkey.ts';

/** The redis backend against real servers. */

const MIB = 2 ** 20;
const CHUNK = 65536;

beforeAll(async () => {
  await ensureDebianPackages(['redis-server', 'openssl'], (line) => process.stderr.write(`${line}\n`));
});

let folder: ReturnType<typeof tempFolder>;
let owned: AsyncDisposableStack;

beforeEach(() => {
  folder = tempFolder();
  owned = new AsyncDisposableStack();
  owned.defer(() => folder[Symbol.dispose]());
});

afterEach(() => owned.disposeAsync());

const serve = async (
  config: readonly string[] = AOF,
  options: { port?: number } = {},
): Promise<RedisServer> => owned.use(await RedisServer.start(folder.file('redis'), config, options));

interface Opened {
  readonly device: BlockDevice;
  readonly log: ReturnType<typeof openContext>['logger'];
}

async function open(config: object, overrides: Partial<OpenContext> = {}): Promise<Opened> {
  const ctx = openContext(folder.path, overrides);
  const parsed = redisConfig.parse({ volume: 'vol', size: '64MiB', ...config });
  const device = await redis.open(parsed, ctx);
  // Some tests do it themselves.
  let isOpen = true;
  const dispose = device[Symbol.asyncDispose].bind(device);
  device[Symbol.asyncDispose] = async () => {
    if (isOpen) await dispose();
    isOpen = false;
  };
  owned.use(device);
  return { device, log: ctx.logger };
}

const block = (byte: number, length = 4096): Buffer => Buffer.alloc(length, byte);
const write = (device: BlockDevice, offset: number, bytes: Buffer) => device.write!(offset, [bytes], 0);

async function read(device: BlockDevice, offset: number, length = 4096): Promise<Buffer> {
  const bytes = Buffer.alloc(length, 0xa5);
  await device.read(offset, [bytes.subarray(0, 100), bytes.subarray(100)], 0);
  return bytes;
}

const stateOf = (device: BlockDevice) => String(device.status!()['state']);

for (const [title, size] of [
  ['redis', '16MiB'],
  ['redis, small chunks', '8MiB'],
] as const)
  testBackend({
    title,
    entry: new URL('../../backends/redis/index.ts', import.meta.url),
    level: 'L2',
    runner: { describe, it },
    async setup() {
      const place = tempFolder();
      const server = await RedisServer.start(place.path, AOF);
      const shape = title === 'redis' ? {} : { chunkSize: '4KiB', shards: 4 };
      return {
        config: { address: server.address, volume: 'test', size, ...shape },
        break: () => server.kill9(),
        mend: () => server.start(),
        async [Symbol.asyncDispose]() {
          await server[Symbol.asyncDispose]();
          place[Symbol.dispose]();
        },
      };
    },
  });

describe('a Redis server is reached', () => {
  it('over a Unix socket, by a user of its ACL who may do nothing but what it takes', async () => {
    writeFileSync(folder.file('password'), 'sesame');
    const socket = folder.file('redis.sock');
    await serve([
      ...AOF,
      `unixsocket ${socket}`,
      'user disk on >sesame ~bg:{vol:* -@all +@read +@write +@scripting +@connection +info +wait',
    ]);
    const { device } = await open({
      socket,
      username: 'disk',
      password: { file: 'password' },
      durability: 'memory',
    });
    await write(device, 0, block(1));
    await device.flush!(0);
    expect(await read(device, 0)).toEqual(block(1));
    await expect(open({ socket, username: 'disk', password: { env: 'PATH' } })).rejects.toMatchObject({
      code: 'redis.unavailable',
      why: expect.stringMatching(/WRONGPASS|password/i),
    });
  });

  it('over TLS, with a certificate on both sides', async () => {
    await makeCertificates(folder.path);
    const pem = (name: string) => folder.file(`${name}.pem`);
    // Beside the plain port, which only its own tools use.
    const server = await serve([...AOF, 'tls-port 0']);
    const tlsPort = await freePort();
    for (const [key, value] of Object.entries({
      'tls-cert-file': pem('server-cert'),
      'tls-key-file': pem('server-key'),
      'tls-ca-cert-file': pem('ca-cert'),
      'tls-port': String(tlsPort),
    }))
      expect(await server.cli('CONFIG', 'SET', key, value)).toBe('OK');
    const tls = { ca: 'ca-cert.pem', cert: 'client-cert.pem', key: 'client-key.pem' };
    const { device } = await open({ address: `localhost:${tlsPort}`, tls });
    await write(device, 0, block(1));
    expect(await read(device, 0)).toEqual(block(1));
    await expect(open({ address: `localhost:${tlsPort}`, tls: { ca: 'ca-cert.pem' } })).rejects.toMatchObject(
      {
        code: 'redis.unavailable',
      },
    );
  });
});

describe('a Redis server that would lose data', () => {
  it.each([
    ['evicts', ['maxmemory-policy allkeys-lru', ...AOF], {}, 'redis.unsafe-server'],
    ['has no append-only file', [], {}, 'redis.durability-unavailable'],
    [
      'synchronizes every second, and cannot say when',
      ['appendonly yes'],
      {},
      'redis.durability-unavailable',
    ],
    ['has no replica', AOF, { durability: 'replicated' }, 'redis.durability-unavailable'],
    ['has no replica with a file', AOF, { durability: 'aof+replicas' }, 'redis.durability-unavailable'],
  ])('because it %s is refused', async (_why, config, disk, code) => {
    const server = await serve(config);
    await expect(open({ address: server.address, ...disk })).rejects.toMatchObject({ code });
  });

  it('because a key of the volume expires is refused', async () => {
    const server = await serve();
    const { device } = await open({ address: server.address });
    await device[Symbol.asyncDispose]();
    await server.cli('EXPIRE', 'bg:{vol:0}:p', '1000');
    await expect(open({ address: server.address })).rejects.toMatchObject({
      code: 'redis.unsafe-server',
      why: expect.stringContaining('bg:{vol:0}:p'),
    });
    await server.cli('PERSIST', 'bg:{vol:0}:p');
    await open({ address: server.address });
  });

  it('is used when that is asked for, and said', async () => {
    const server = await serve([]);
    const { log } = await open({ address: server.address, durability: 'memory' });
    expect(log.lines).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        message: 'the disk is in the memory of the Redis server only',
      }),
    );
  });

  it('since it was started again, or another one is in its place, has its flushes fail from the first on', async () => {
    const server = await serve();
    const { device } = await open({ address: server.address });
    // Before 7.2 nothing else tells what is on the disk.
    await server.cli('CONFIG', 'SET', 'appendfsync', 'everysec');
    await server.cli('CLIENT', 'KILL', 'TYPE', 'normal');
    await eventually(() => !stateOf(device).startsWith('connected'));
    await write(device, 0, block(1));
    await expect(device.flush!(0)).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('appendfsync'),
    });
  });

  it('from some time on has its flushes fail, until it is mended', { timeout: 60_000 }, async () => {
    const server = await serve();
    const { device, log } = await open({ address: server.address });
    await server.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-random');
    await eventually(() => stateOf(device).includes('in danger'));
    await write(device, 0, block(1));
    await expect(device.flush!(0)).rejects.toMatchObject({ code: 'EIO' });
    expect(JSON.stringify(log.lines)).toContain('cannot be trusted');
    await server.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    await eventually(() => stateOf(device) === 'connected');
    await device.flush!(0);
  });
});

describe('what is missing', () => {
  it('is an error and never zeros: a key', async () => {
    const server = await serve();
    const { device, log } = await open({ address: server.address });
    await write(device, 0, block(1, 2 * CHUNK));
    await server.cli('DEL', 'bg:{vol:0}:c:0');
    await expect(read(device, 0)).rejects.toMatchObject({ code: 'EIO' });
    await expect(write(device, 4096, block(2))).rejects.toMatchObject({ code: 'EIO' });
    expect(await read(device, CHUNK)).toEqual(block(1));
    expect(JSON.stringify(log.lines)).toContain('data is missing');
    // Given up for lost, it can be used again.
    await device.discard!(0, CHUNK, 0);
    expect(await read(device, 0)).toEqual(block(0));
    await write(device, 0, block(3));
    expect(await read(device, 0)).toEqual(block(3));
  });

  it('is an error and never zeros: everything', async () => {
    const server = await serve();
    const { device } = await open({ address: server.address });
    await write(device, 0, block(1));
    await server.cli('FLUSHALL');
    await expect(read(device, 0)).rejects.toMatchObject({ code: 'EIO' });
    await expect(write(device, CHUNK, block(1))).rejects.toMatchObject({ code: 'EIO' });
    expect(stateOf(device)).toBe('failed');
    // Nor is it made anew for whoever had it.
    await device[Symbol.asyncDispose]();
    await expect(open({ address: server.address })).rejects.toMatchObject({ code: 'volume.lost' });
    const config = redisConfig.parse({ address: server.address, volume: 'vol', size: '64MiB' });
    await redis.volumes!.create(config, openContext(folder.file('elsewhere')));
    const again = await open({ address: server.address });
    expect(again.log.lines).toContainEqual(expect.objectContaining({ level: 'warn' }));
    await write(again.device, 0, block(2));
    expect(await read(again.device, 0)).toEqual(block(2));
  });

  it('is an error and never zeros: what says which chunks there are', async () => {
    const server = await serve();
    const { device } = await open({ address: server.address });
    await write(device, 0, block(1));
    await server.cli('DEL', 'bg:{vol:0}:p');
    await expect(write(device, CHUNK, block(1))).rejects.toMatchObject({ code: 'EIO' });
    await device[Symbol.asyncDispose]();
    await expect(open({ address: server.address })).rejects.toMatchObject({ code: 'volume.corrupt' });
    const config = redisConfig.parse({ address: server.address, volume: 'vol' });
    await redis.volumes!.delete(config, { force: true, progress: () => undefined }, openContext(folder.path));
    expect(await server.cli('DBSIZE')).toBe('0');
  });

  it('is an error for a read-only user as well', async () => {
    const server = await serve();
    const { device } = await open({ address: server.address });
    await write(device, 0, block(1));
    const reader = await open({ address: server.address }, { readOnly: true });
    expect(await read(reader.device, 0)).toEqual(block(1));
    await write(device, CHUNK, block(2));
    expect(await read(reader.device, CHUNK)).toEqual(block(2));
    await server.cli('DEL', 'bg:{vol:0}:c:0');
    await expect(read(reader.device, 0)).rejects.toMatchObject({ code: 'EIO' });
  });
});

describe('two gateways', () => {
  it('do not get one volume, unless it is taken over: then the server refuses the first', async () => {
    const server = await serve();
    const first = await open({ address: server.address });
    await write(first.device, 0, block(1));
    await expect(open({ address: server.address })).rejects.toMatchObject({ code: 'volume.owned' });
    const second = await open({ address: server.address }, { takeOver: true });
    await expect(write(first.device, 0, block(9))).rejects.toMatchObject({ code: 'EIO' });
    expect(stateOf(first.device)).toBe('failed');
    expect(await read(second.device, 0)).toEqual(block(1));
    await write(second.device, 0, block(2));
    await second.device.flush!(0);
  });

  it('can have it one after the other', async () => {
    const server = await serve();
    const first = await open({ address: server.address });
    await write(first.device, 0, block(1));
    await first.device[Symbol.asyncDispose]();
    const second = await open({ address: server.address });
    expect(await read(second.device, 0)).toEqual(block(1));
  });
});

describe('a Redis server that dies', () => {
  it('and comes back has every write that was answered, and no request has failed', {
    timeout: 60_000,
  }, async () => {
    const server = await serve();
    const { device } = await open({ address: server.address });
    let round = 0;
    let over = false;
    const writing = (async () => {
      while (!over) {
        round++;
        await Promise.all(
          Array.from({ length: 16 }, (_, i) => write(device, i * 8192, block((round * 16 + i) % 251))),
        );
        for (let i = 0; i < 16; i++)
          expect(await read(device, i * 8192)).toEqual(block((round * 16 + i) % 251));
        if (round % 3 === 0) await device.flush!(0);
      }
    })();
    writing.catch(() => undefined);
    for (let kill = 0; kill < 5; kill++) {
      await delay(200 + Math.random() * 200);
      await server.kill9();
      await delay(100);
      await server.start();
    }
    over = true;
    await writing;
    expect(device.status!()).toMatchObject({ state: 'connected' });
    expect(device.status!()['recoveries']).toBeGreaterThan(0);
  });

  it('and forgets what was not flushed is told again, oldest first', async () => {
    // Without a file: what it had is gone, but for a snapshot of the beginning.
    const server = await serve([]);
    const { device } = await open({ address: server.address, durability: 'memory' });
    await write(device, 0, block(1));
    await server.cli('SAVE');
    for (let i = 2; i < 20; i++) await write(device, 0, block(i));
    await write(device, 10 * CHUNK, block(7));
    await server.kill9();
    await server.start();
    expect(await read(device, 0)).toEqual(block(19));
    expect(await read(device, 10 * CHUNK)).toEqual(block(7));
    expect(await server.cli('GETBIT', 'bg:{vol:0}:p', '10')).toBe('1');
  });

  it('has requests fail when it is time to give up, and served when it is back', async () => {
    const server = await serve();
    const { device } = await open({ address: server.address, giveUpAfter: 0.3 });
    await write(device, 0, block(1));
    await server.kill9();
    await expect(read(device, 0)).rejects.toMatchObject({ code: 'EIO' });
    await expect(device.flush!(0)).rejects.toMatchObject({ code: 'EIO' });
    await server.start();
    await eventually(() => stateOf(device) === 'connected');
    expect(await read(device, 0)).toEqual(block(1));
  });
});

describe('servers with WAITAOF', () => {
  let valkey: string;
  beforeAll(async () => {
    valkey = await ensureValkey((line) => process.stderr.write(`${line}\n`));
  });
  const start = (name: string, config: readonly string[]) =>
    RedisServer.start(folder.file(name), config, { program: join(valkey, 'valkey-server') });
  const EVERY_SECOND = ['appendonly yes', 'appendfsync everysec'];

  it('are waited for: a flush that was answered survives kill -9, however seldom the server synchronizes', async () => {
    const server = owned.use(await start('one', EVERY_SECOND));
    const { device } = await open({ address: server.address });
    expect(device.status!()).toMatchObject({ durability: 'aof' });
    for (let i = 0; i < 20; i++) await write(device, i * 8192, block(i + 1));
    await device.flush!(0);
    await server.kill9();
    await server.start();
    for (let i = 0; i < 20; i++) expect(await read(device, i * 8192)).toEqual(block(i + 1));
    expect(device.status!()).toMatchObject({ unflushed: '0 bytes' });
  });

  it('confirm a flush with their replicas, and fail it when these do not', { timeout: 60_000 }, async () => {
    const master = owned.use(await start('master', [...EVERY_SECOND, 'repl-diskless-sync-delay 0']));
    const replica = owned.use(
      await start('replica', [...EVERY_SECOND, `replicaof 127.0.0.1 ${master.port}`]),
    );
    await eventually(async () => (await master.cli('INFO', 'replication')).includes('state=online'));
    const { device } = await open({ address: master.address, flushTimeout: 2 });
    expect(device.status!()).toMatchObject({ durability: 'aof+replicas' });
    await write(device, 0, block(1));
    await device.flush!(0);
    process.kill(replica.pid, 'SIGSTOP');
    await write(device, 0, block(2));
    await expect(device.flush!(0)).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('0 of 1 replicas'),
    });
    process.kill(replica.pid, 'SIGCONT');
    await device.flush!(0);
    expect(device.status!()).toMatchObject({ unflushed: '0 bytes' });
  });
});

describe('a failover', () => {
  it.each([
    ['replicated', async () => 'redis-server'],
    ['aof+replicas', async () => join(await ensureValkey(() => undefined), 'valkey-server')],
  ])(
    'by sentinels loses nothing that a flush has promised (%s), and no request fails',
    {
      timeout: 120_000,
    },
    async (durability, ensureServer) => {
      const program = await ensureServer();
      const start = async (name: string, config: readonly string[]) =>
        owned.use(await RedisServer.start(folder.file(name), config, { program }));
      const master = await start('master', [...AOF, 'repl-diskless-sync-delay 0']);
      const replica = await start('replica', [...AOF, `replicaof 127.0.0.1 ${master.port}`]);
      await eventually(async () => (await master.cli('INFO', 'replication')).includes('state=online'));
      const sentinel = owned.use(
        await RedisServer.start(
          folder.file('sentinel'),
          [
            `sentinel monitor mymaster 127.0.0.1 ${master.port} 1`,
            'sentinel down-after-milliseconds mymaster 1000',
            'sentinel failover-timeout mymaster 3000',
          ],
          { args: ['--sentinel'] },
        ),
      );
      await eventually(async () =>
        (await sentinel.cli('SENTINEL', 'replicas', 'mymaster')).includes(`${replica.port}`),
      );
      const { device } = await open({
        sentinels: { addresses: [sentinel.address], master: 'mymaster' },
        durability,
        flushTimeout: 2,
      });
      for (let i = 0; i < 50; i++) await write(device, i * 8192, block(i + 1));
      await device.flush!(0);
      for (let i = 0; i < 10; i++) await write(device, i * 8192, block(100 + i));
      await master.kill9();
      // Not flushed: they are in the window, and read as they were written.
      for (let i = 0; i < 50; i++)
        expect(await read(device, i * 8192)).toEqual(block(i < 10 ? 100 + i : i + 1));
      await write(device, 0, block(200));
      expect(await read(device, 0)).toEqual(block(200));
      expect(await replica.cli('ROLE')).toMatch(/^master/);
      expect(stateOf(device)).toBe('connected');
      // With nobody left to confirm it, a flush must not be said to be done.
      await expect(device.flush!(0)).rejects.toMatchObject({ code: 'EIO' });
    },
  );

  it('in a cluster under load loses nothing, and no request fails', { timeout: 180_000 }, async () => {
    const servers = await startCluster(folder.path);
    for (const server of servers) owned.use(server);
    const cluster = servers.slice(0, 3).map(({ address }) => address);
    const { device } = await open({ cluster, durability: 'replicated', shards: 16 });
    // Flushed, and so on a replica, of which one takes over.
    for (let i = 32; i < 96; i++) await write(device, i * CHUNK, block(i));
    await device.flush!(0);
    expect(device.status!()).toMatchObject({ unflushed: '0 bytes' });
    let over = false;
    let round = 0;
    const writing = (async () => {
      while (!over) {
        round++;
        await Promise.all(
          Array.from({ length: 32 }, (_, i) => write(device, i * CHUNK, block((round + i) % 251))),
        );
        for (let i = 0; i < 32; i++) expect(await read(device, i * CHUNK)).toEqual(block((round + i) % 251));
      }
    })();
    writing.catch(() => undefined);
    await delay(1000);
    await servers[0]!.kill9();
    await delay(8000);
    over = true;
    await writing;
    expect(round).toBeGreaterThan(2);
    for (let i = 32; i < 96; i++) expect(await read(device, i * CHUNK)).toEqual(block(i));
    expect(device.status!()).toMatchObject({ state: 'connected' });
    expect(device.status!()['recoveries']).toBeGreaterThan(0);
    // With its replica in its place a master has none any more: a flush must not be said to be done. When it is back, it is.
    await servers[0]!.start();
    await device.flush!(0);
  });
});

describe('a volume', () => {
  const ctx = () => openContext(folder.path);
  const config = (server: RedisServer, more: object = {}) =>
    redisConfig.parse({ address: server.address, volume: 'vol', size: '64MiB', ...more });
  const volumes = redis.volumes!;
  const progress = () => undefined;

  it('is created, listed, grown and deleted, and leaves nothing behind', async () => {
    const server = await serve();
    const info = await volumes.create(config(server, { shards: 4, chunkSize: '16KiB' }), ctx());
    expect(info).toMatchObject({
      name: 'vol',
      size: 64 * MIB,
      used: 0,
      details: { 'chunk size': 16384, shards: 4 },
    });
    await expect(volumes.create(config(server), ctx())).rejects.toMatchObject({ code: 'volume.exists' });
    await volumes.create(config(server, { volume: 'other' }), ctx());
    const { device } = await open({ address: server.address });
    await write(device, MIB, block(1, MIB));
    expect(await volumes.info(config(server), ctx())).toMatchObject({
      used: MIB,
      owner: expect.stringContaining('disk0'),
    });
    await volumes.resize(config(server), 128 * MIB, ctx());
    await device.resize!();
    expect(device.info.size).toBe(128 * MIB);
    await write(device, 127 * MIB, block(5));
    await expect(volumes.resize(config(server), MIB, ctx())).rejects.toMatchObject({
      code: 'volume.cannot-shrink',
    });
    const names = (await volumes.list(config(server), ctx())).map(({ name }) => name);
    expect(names).toEqual(['other', 'vol']);
    await expect(volumes.delete(config(server), { force: false, progress }, ctx())).rejects.toMatchObject({
      code: 'volume.owned',
    });
    await volumes.delete(config(server), { force: true, progress }, ctx());
    await expect(write(device, 0, block(1))).rejects.toMatchObject({ code: 'EIO' });
    await volumes.delete(config(server, { volume: 'other' }), { force: false, progress }, ctx());
    expect(await server.cli('DBSIZE')).toBe('0');
  });

  it('gives memory back when it is discarded or zeroed', async () => {
    const server = await serve();
    const { device } = await open({ address: server.address });
    await write(device, 0, block(1, 4 * MIB));
    expect(await server.cli('DBSIZE')).toBe(String(64 + 4));
    await device.discard!(0, 2 * MIB, 0);
    await device.writeZeroes!(2 * MIB + 4096, MIB, 2);
    expect(Number(await server.cli('DBSIZE'))).toBeLessThan(64 + 4 - 32 - 14);
    expect(await read(device, 2 * MIB)).toEqual(block(1));
    expect((await read(device, 2 * MIB + 4096, MIB)).equals(block(0, MIB))).toBe(true);
    expect(await read(device, 3 * MIB + 4096)).toEqual(block(1));
    // As much as nothing was ever there, however large.
    await device.discard!(0, 64 * MIB, 0);
    expect(await server.cli('DBSIZE')).toBe('4');
  });

  it('of another shape or size than configured is refused', async () => {
    const server = await serve();
    await volumes.create(config(server), ctx());
    await expect(open({ address: server.address, size: '32MiB' })).rejects.toMatchObject({
      code: 'volume.size-mismatch',
    });
    await expect(open({ address: server.address, chunkSize: '4KiB' })).rejects.toMatchObject({
      code: 'volume.chunk-size-mismatch',
    });
  });

  it('says so when its server is full', async () => {
    const server = await serve([...AOF, 'maxmemory 8mb']);
    const { device } = await open({ address: server.address });
    const failed = await (async () => {
      for (let i = 0; i < 16; i++) await write(device, i * MIB, block(1, MIB));
    })().catch((error) => error);
    expect(failed).toMatchObject({ code: 'ENOSPC' });
    expect(await read(device, 0)).toEqual(block(1));
  });
});
