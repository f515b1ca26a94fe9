import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type S3Config, s3Config } from '../../backends/s3/config.ts';
import s3 from '../../backends/s3/index.ts';
import type { BlockDevice, GatewayError, OpenContext } from '../../core/plugin.ts';
import { seededRandom } from '../../core/util/random.ts';
import { context, pattern, sameBytes } from '../backends/s3/harness.ts';
import { S3_SERVERS, startS3, type TestS3 } from '../support/s3.ts';
import { tempFolder } from '../support/temp-folder.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const CHUNK = 64 * KIB;

describe.each(S3_SERVERS)('the s3 backend on %s', (name) => {
  let server: TestS3;
  let open: BlockDevice[] = [];
  let volumes = 0;

  beforeAll(async () => {
    server = await startS3(name);
  });

  afterEach(async () => {
    server.setFaults?.({});
    for (const device of open.splice(0)) await device[Symbol.asyncDispose]();
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  function settings(overrides: Record<string, unknown> = {}): S3Config {
    return s3Config.parse({
      ...server.backend,
      prefix: `volumes/${volumes}`,
      chunkSize: CHUNK,
      ...overrides,
    });
  }

  async function create(size: number): Promise<S3Config> {
    volumes++;
    const config = settings({ size });
    await s3.volumes!.create(config, context());
    return config;
  }

  async function attach(config: S3Config, options: Partial<OpenContext> = {}): Promise<BlockDevice> {
    const device = await s3.open(config, context(options));
    open.push(device);
    return device;
  }

  async function detach(device: BlockDevice): Promise<void> {
    open = open.filter((other) => other !== device);
    await device[Symbol.asyncDispose]();
  }

  async function read(device: BlockDevice, offset: number, length: number): Promise<Uint8Array> {
    const data = new Uint8Array(length).fill(0xee);
    await device.read(offset, [data], 0);
    return data;
  }

  async function keys(prefix: string): Promise<string[]> {
    const page = await server.client.send(
      new ListObjectsV2Command({ Bucket: server.bucket, Prefix: prefix }),
    );
    return (page.Contents ?? []).map(({ Key }) => Key!);
  }

  async function refusal(attempt: Promise<unknown>): Promise<GatewayError> {
    return attempt.then(
      () => expect.fail('it was not refused'),
      (error: GatewayError) => error,
    );
  }

  it('gives the same content after a stop and a start', async () => {
    const config = await create(4 * MIB);
    const device = await attach(config);
    await device.write!(0, [pattern(512, 1)], 0);
    await device.write!(100 * KIB, [pattern(200 * KIB, 2)], 0);
    await device.write!(4 * MIB - 512, [pattern(512, 3)], 0);
    await device.flush!(0);
    await detach(device);

    const again = await attach(config);
    const content = await read(again, 0, 4 * MIB);
    const expected = new Uint8Array(4 * MIB);
    expected.set(pattern(512, 1));
    expected.set(pattern(200 * KIB, 2), 100 * KIB);
    expected.set(pattern(512, 3), 4 * MIB - 512);
    expect(Buffer.compare(content, expected)).toBe(0);
  });

  /** Random requests against a model; `between` is called now and then. */
  async function exercise(seed: number, requests: number, between: () => Promise<void>): Promise<void> {
    const random = seededRandom(seed);
    const size = 20 * CHUNK;
    const model = new Uint8Array(size);
    const config = { ...(await create(size)), writeBuffer: 5 * CHUNK, readCache: 3 * CHUNK };
    let device = await attach(config);
    for (let i = 1; i <= requests; i++) {
      const length = 512 * (1 + Math.floor(random() * 300));
      const offset = 512 * Math.floor((random() * (size - length)) / 512);
      const kind = random();
      if (kind < 0.5) {
        await device.write!(offset, [pattern(length, i)], 0);
        model.set(pattern(length, i), offset);
      } else if (kind < 0.6) {
        await device.writeZeroes!(offset, length, 0);
        model.fill(0, offset, offset + length);
      } else if (kind < 0.65) {
        await device.flush!(0);
      } else if (kind < 0.67) {
        await device.flush!(0);
        await detach(device);
        device = await attach(config);
      } else if (kind < 0.7) {
        await between();
      } else {
        const content = await read(device, offset, length);
        const same = Buffer.compare(content, model.subarray(offset, offset + length));
        expect(same, `seed ${seed}, request ${i}`).toBe(0);
      }
    }
    expect(Buffer.compare(await read(device, 0, size), model), `seed ${seed}`).toBe(0);
    await device.flush!(0);
    await detach(device);
    const again = await attach(config);
    expect(Buffer.compare(await read(again, 0, size), model), `seed ${seed}, opened again`).toBe(0);
  }

  function freshSeed(): number {
    return Number(process.env['BLOCKGATE_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  }

  it('holds what a model holds after random requests', async () => {
    await exercise(freshSeed(), 300, async () => {});
  });

  it('holds what a model holds while the store refuses, loses answers and dawdles', async () => {
    const seed = freshSeed();
    // Without faults of its own this server is stopped and started instead, once.
    let restarts = server.setFaults ? 0 : 1;
    server.setFaults?.({ seed, errorRate: 0.1, lostResponseRate: 0.05, latencyMs: [0, 5] });
    await exercise(seed, 150, async () => {
      if (restarts-- <= 0) return;
      await server.stop();
      await server.start();
    });
  });

  it('deletes the objects of chunks that are discarded or zeroed', async () => {
    const config = await create(MIB);
    const device = await attach(config);
    await device.write!(0, [pattern(MIB, 7)], 0);
    await device.flush!(0);
    expect(await keys(`${config.prefix}/chunk/`)).toHaveLength(16);
    await device.discard!(0, 8 * CHUNK, 0);
    await device.writeZeroes!(8 * CHUNK, 7 * CHUNK, 0);
    await device.flush!(0);
    await expect.poll(() => keys(`${config.prefix}/chunk/`)).toHaveLength(1);
    expect((await read(device, 0, 15 * CHUNK)).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses a second gateway and names the first', async () => {
    const config = await create(MIB);
    await attach(config, { disk: 'first' });
    const error = await refusal(attach(config, { disk: 'second' }));
    expect(error.code).toBe('volume.owned');
    expect(error.message).toContain(`disk "first" of pid ${process.pid} on `);
    expect(error.fix).toContain('blockgate run --take-over second');
  });

  it('stops a gateway whose volume was taken over', async () => {
    const config = await create(MIB);
    const first = await attach(config);
    await first.write!(0, [pattern(512, 1)], 0);
    await first.flush!(0);
    const second = await attach(config, { takeOver: true });
    await second.write!(0, [pattern(512, 2)], 0);
    await second.flush!(0);
    await first.write!(0, [pattern(512, 3)], 0);
    await expect(first.flush!(0)).rejects.toMatchObject({ code: 'EIO' });
    await expect(async () => first.read(0, [new Uint8Array(512)], 0)).rejects.toThrow('taken over');
    expect(await read(second, 0, 512)).toEqual(pattern(512, 2));
  });

  it('answers a read of a deleted chunk with an error, not with zeros', async () => {
    const config = await create(MIB);
    const device = await attach(config);
    await device.write!(0, [pattern(CHUNK, 1)], 0);
    await device.flush!(0);
    await detach(device);
    const [key] = await keys(`${config.prefix}/chunk/`);
    await server.client.send(new DeleteObjectCommand({ Bucket: server.bucket, Key: key }));
    const again = await attach(config);
    await expect(read(again, 0, 512)).rejects.toThrow(`${key} is missing from the bucket`);
    expect(await read(again, CHUNK, 512)).toEqual(new Uint8Array(512));
  });

  it('answers a read of a damaged chunk with an error', async () => {
    const config = await create(MIB);
    const device = await attach(config);
    await device.write!(0, [pattern(CHUNK, 1)], 0);
    await device.flush!(0);
    await detach(device);
    const [key] = await keys(`${config.prefix}/chunk/`);
    const where = { Bucket: server.bucket, Key: key };
    const { Metadata } = await server.client.send(new HeadObjectCommand(where));
    const Body = await (await server.client.send(new GetObjectCommand(where))).Body!.transformToByteArray();
    Body[5]! ^= 1;
    await server.client.send(new PutObjectCommand({ ...where, Body, Metadata }));
    const again = await attach(config);
    await expect(read(again, 0, 512)).rejects.toThrow('the checksum of its line 0 is wrong');
  });

  it('gets over the store being gone in the middle of writing', async () => {
    const config = { ...(await create(4 * MIB)), writeBuffer: 8 * CHUNK };
    const device = await attach(config);
    const writing = (async () => {
      for (let i = 0; i < 64; i++) await device.write!(i * CHUNK, [pattern(CHUNK, i + 1)], 0);
      await device.flush!(0);
    })();
    await new Promise((resolve) => setImmediate(resolve));
    await server.stop();
    await sleep(20_000);
    await server.start();
    await writing;
    await detach(device);
    const again = await attach(config);
    for (let i = 0; i < 64; i++) {
      // Not toEqual, which takes half a second for each.
      expect(Buffer.compare(await read(again, i * CHUNK, CHUNK), pattern(CHUNK, i + 1))).toBe(0);
    }
  });

  it('passes to the next process when its gateway is killed, with all that was flushed', async () => {
    const config = await create(MIB);
    const writer = join(import.meta.dirname, '../support/s3-writer.ts');
    const child = spawn(
      process.execPath,
      [writer, JSON.stringify({ ...server.backend, prefix: config.prefix })],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const exited = once(child, 'exit');
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    expect(said.toString()).toBe('flushed\n');
    expect((await refusal(attach(config))).message).toContain(`pid ${child.pid} on `);
    child.kill('SIGKILL');
    await exited;
    const device = await attach(config);
    expect(Buffer.compare(await read(device, 0, MIB), new Uint8Array(MIB).fill(0x5a))).toBe(0);
  });

  it('tells each kind of wrong configuration from the others', async () => {
    const config = await create(MIB);
    const wrong = async (overrides: Record<string, unknown>) =>
      (await refusal(attach(settings(overrides)))).code;
    const credentials = { accessKeyId: 'test', secretAccessKey: { env: 'HOME' } };
    expect(await wrong({ credentials })).toBe('s3.bad-credentials');
    expect(await wrong({ bucket: 'nowhere' })).toBe('s3.bucket-not-found');
    expect(await wrong({ prefix: 'nothing' })).toBe('volume.not-found');
    expect(await wrong({ size: 2 * MIB })).toBe('volume.size-mismatch');
    expect(await wrong({ chunkSize: 128 * KIB })).toBe('volume.chunk-size-mismatch');

    const where = { Bucket: server.bucket, Key: `${config.prefix}/volume.json` };
    const record = await (await server.client.send(new GetObjectCommand(where))).Body!.transformToString();
    const store = (Body: string) => server.client.send(new PutObjectCommand({ ...where, Body }));
    await store(record.replace('"version": 1', '"version": 2'));
    expect(await wrong({})).toBe('volume.unsupported-version');
    await store('something else');
    expect(await wrong({})).toBe('volume.not-a-volume');
  });

  it('lists, describes, grows and deletes volumes', async () => {
    const config = await create(MIB);
    const device = await attach(config);
    await device.write!(0, [pattern(3 * CHUNK, 1)], 0);
    await device.flush!(0);
    const volumes = s3.volumes!;
    expect(await volumes.info(config, context())).toMatchObject({ size: MIB, used: 3 * CHUNK });
    expect((await volumes.list(config, context())).map(({ name }) => name)).toContain(config.prefix);
    expect((await refusal(volumes.resize(config, 2 * MIB, context()))).code).toBe('volume.owned');
    await detach(device);
    expect(await volumes.resize(config, 2 * MIB, context())).toMatchObject({ size: 2 * MIB });
    expect((await refusal(volumes.resize(config, MIB, context()))).code).toBe('volume.cannot-shrink');
    const grown = await attach({ ...config, size: 2 * MIB });
    await grown.write!(2 * MIB - 512, [pattern(512, 9)], 0);
    await grown.flush!(0);
    await detach(grown);
    await volumes.delete(config, { force: false, progress: () => {} }, context());
    expect(await keys(`${config.prefix}/`)).toEqual([]);
  });

  it('reads from its cache on disk, after a restart, what the store does not even have any more', async () => {
    using folder = tempFolder();
    volumes++;
    const config = settings({
      chunkSize: undefined,
      size: 16 * MIB,
      diskCache: { path: folder.path, size: '16MiB' },
    });
    await s3.volumes!.create(config, context());
    const writing = await attach(config);
    await writing.write!(0, [pattern(4 * MIB, 3)], 0);
    await writing.flush!(0);
    await detach(writing);
    const cold = await attach(config);
    expect(sameBytes(await read(cold, 0, 4 * MIB), pattern(4 * MIB, 3))).toBe(true);
    await detach(cold);
    const warm = await attach(config);
    for (const Key of await keys(`${config.prefix}/log/`))
      await server.client.send(new DeleteObjectCommand({ Bucket: server.bucket, Key }));
    expect(sameBytes(await read(warm, 0, 4 * MIB), pattern(4 * MIB, 3))).toBe(true);
    expect(warm.status!()['disk cache']).toMatch(/^\d+ hits, 0 misses, 0 damaged/);
  });

  it('finds nothing wrong with a store that works', async () => {
    const config = await create(MIB);
    const findings = await s3.check!(config, context());
    expect(findings.map(({ severity }) => severity)).toEqual(['ok', 'ok', 'ok']);
    expect(await keys(`${config.prefix}/probe`)).toEqual([]);
  });
});
