import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type S3Config, s3Config } from '../../backends/s3/config.ts';
import s3 from '../../backends/s3/index.ts';
import type { BlockDevice } from '../../core/plugin.ts';
import { seededRandom } from '../../core/util/random.ts';
import { context, sameBytes } from '../backends/s3/harness.ts';
import { S3_SERVERS, startS3, type TestS3 } from '../support/s3.ts';

const MIB = 2 ** 20;
const SIZE = 24 * MIB;

describe.each(S3_SERVERS)('a clone that is flattened while it is in use, on %s', (name) => {
  let server: TestS3;
  const { snapshots, ...volumes } = s3.volumes!;

  beforeAll(async () => {
    server = await startS3(name);
  });

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  const settings = (prefix: string, more: Record<string, unknown> = {}): S3Config =>
    s3Config.parse({ ...server.backend, prefix, ...more });

  async function write(device: BlockDevice, content: Buffer, offset: number, data: Buffer): Promise<void> {
    data.copy(content, offset);
    await device.write!(offset, [data], 0);
  }

  /** What the clone begins with. */
  async function cloned(at: string, random: () => number): Promise<Buffer> {
    const parent = settings(`${at}/parent`);
    const content = Buffer.alloc(SIZE);
    await volumes.create({ ...parent, size: SIZE }, context());
    {
      await using device = await s3.open(parent, context());
      for (let offset = 0; offset < SIZE; offset += MIB)
        await write(device, content, offset, Buffer.alloc(MIB, 1 + Math.floor(random() * 200)));
      await device.flush!(0);
    }
    await snapshots!.create(parent, 'one', context());
    await snapshots!.clone(parent, 'one', settings(`${at}/clone`), context());
    return content;
  }

  /** The parent goes; what is left is the clone as it should be. */
  async function expectAlone(at: string, content: Buffer): Promise<void> {
    const parent = settings(`${at}/parent`);
    await snapshots!.delete(parent, 'one', context());
    await volumes.delete(parent, { force: false, progress: () => undefined }, context());
    const left = await server.client.send(
      new ListObjectsV2Command({ Bucket: server.bucket, Prefix: `${at}/parent/` }),
    );
    expect(left.KeyCount).toBe(0);
    const clone = settings(`${at}/clone`);
    const found = await volumes.check!(
      clone,
      { data: true, repair: false, progress: () => undefined },
      context(),
    );
    expect(found.findings).toEqual([]);
    await using device = await s3.open(clone, context());
    expect(await holds(device, content)).toBe(true);
  }

  async function holds(device: BlockDevice, content: Buffer): Promise<boolean> {
    const data = Buffer.alloc(4 * MIB);
    for (let at = 0; at < SIZE; at += data.length) {
      await device.read(at, [data], 0);
      if (!sameBytes(data, content.subarray(at, at + data.length))) return false;
    }
    return true;
  }

  const isDone = (device: BlockDevice): boolean => device.status!()['flatten'] === 'done';

  it('holds what was written meanwhile, over a restart, and while the store fails', async () => {
    const seed = Number(process.env['BLOCKGATE_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
    const random = seededRandom(seed);
    const content = await cloned('busy', random);
    const clone = settings('busy/clone', { flatten: true, writeBuffer: '4MiB' });
    server.setFaults?.({ seed, errorRate: 0.05, lostResponseRate: 0.02, latencyMs: [0, 5] });
    for (const isLast of [false, true]) {
      await using device = await s3.open(clone, context());
      for (let i = 0; isLast ? !isDone(device) || i < 100 : i < 20; i++) {
        const data = Buffer.alloc(512 * (1 + Math.floor(random() * 64)), 1 + (i % 250));
        await write(device, content, 512 * Math.floor((random() * (SIZE - data.length)) / 512), data);
        if (random() < 0.2) await device.flush!(0);
        await sleep(2);
      }
      await device.flush!(0);
      expect(await holds(device, content), `seed ${seed}`).toBe(true);
    }
    server.setFaults?.({});
    await expectAlone('busy', content);
  });

  it('goes on where a process was killed', async () => {
    const content = await cloned('killed', seededRandom(1));
    const clone = settings('killed/clone', { flatten: true });
    const child = spawn(
      process.execPath,
      [
        join(import.meta.dirname, '../support/s3-writer.ts'),
        JSON.stringify({ ...server.backend, prefix: clone.prefix, flatten: true, writeBuffer: '1MiB' }),
        String(MIB / 2),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const exited = once(child, 'exit');
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    expect(said.toString()).toBe('flushed\n');
    content.fill(0x5a, 0, MIB / 2);
    child.kill('SIGKILL');
    await exited;
    {
      await using device = await s3.open(clone, context());
      while (!isDone(device)) await sleep(10);
      // What it wrote last, without a flush: there, or not.
      const sector = Buffer.alloc(512);
      await device.read(0, [sector], 0);
      expect([0, 0x5a]).toContain(sector[0]);
      content.fill(sector[0]!, 0, 512);
    }
    await expectAlone('killed', content);
  });
});
