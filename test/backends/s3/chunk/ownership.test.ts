import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Layout } from '../../../../backends/s3/chunk/layout.ts';
import { type OwnerRecord, Ownership } from '../../../../backends/s3/chunk/owner.ts';
import { StoreError } from '../../../../backends/s3/store/store-error.ts';
import type { GatewayError } from '../../../../core/plugin.ts';
import {
  isCertainlyDead,
  ownIdentity,
  type ProcessIdentity,
} from '../../../../core/util/process-identity.ts';
import { MemoryLogger } from '../../../support/fake-device.ts';
import { FakeBucket, FakeStore } from '../fake-store.ts';

const LAYOUT = new Layout('disks/a');

function acquire(
  bucket: FakeBucket,
  options: { takeOver?: boolean; volume?: string } = {},
): Promise<Ownership> {
  return Ownership.acquire(new FakeStore(bucket), LAYOUT, {
    disk: 'disk0',
    volume: 'v1',
    takeOver: false,
    unfenced: false,
    logger: new MemoryLogger(),
    ...options,
  });
}

/** A record as another process would have left it. */
async function ownedBy(bucket: FakeBucket, process: Partial<ProcessIdentity>): Promise<void> {
  const record: OwnerRecord = {
    volume: 'v1',
    nonce: 'other',
    state: 'owned',
    disk: 'other-disk',
    since: '2026-01-02T03:04:05.000Z',
    process: { ...ownIdentity(), ...process },
    leftovers: false,
  };
  await new FakeStore(bucket).put(LAYOUT.owner, Buffer.from(JSON.stringify(record)));
}

/** The identity of a process that has ended. */
async function deadProcess(): Promise<ProcessIdentity> {
  const child = spawn('sleep', ['60']);
  await once(child, 'spawn');
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const identity = { ...ownIdentity(), pid: child.pid!, startTime: stat.split(') ')[1]!.split(' ')[19]! };
  expect(isCertainlyDead(identity)).toBe(false);
  child.kill('SIGKILL');
  await once(child, 'exit');
  return identity;
}

describe('ownership of a volume', () => {
  it('is had by one', async () => {
    const bucket = new FakeBucket();
    await acquire(bucket);
    const error = await acquire(bucket).catch((refused: GatewayError) => refused as GatewayError);
    expect(error).toMatchObject({
      code: 'volume.owned',
      why: 'A volume has one writer; a second one would destroy it.',
      fix: 'Stop that gateway. If it is gone for good: blockgate run --take-over disk0',
    });
  });

  it('is had by one of several that want it at once', async () => {
    const bucket = new FakeBucket();
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => acquire(bucket)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('says who has it', async () => {
    const bucket = new FakeBucket();
    await ownedBy(bucket, { host: 'far', pid: 812, bootId: 'another' });
    await expect(acquire(bucket)).rejects.toThrow(
      'The volume is in use by disk "other-disk" of pid 812 on far, since 2026-01-02T03:04:05.000Z.',
    );
  });

  it('can be had again after it was released', async () => {
    const bucket = new FakeBucket();
    await (await acquire(bucket)).release({ leftovers: false });
    expect((await acquire(bucket)).uncleanStart).toBe(false);
  });

  it('remembers that objects were left to delete', async () => {
    const bucket = new FakeBucket();
    await (await acquire(bucket)).release({ leftovers: true });
    expect((await acquire(bucket)).uncleanStart).toBe(true);
  });

  it('passes on from a process of this machine that has died', async () => {
    const bucket = new FakeBucket();
    await ownedBy(bucket, await deadProcess());
    expect((await acquire(bucket)).uncleanStart).toBe(true);
  });

  it('passes on when the pid belongs to another process by now', async () => {
    const bucket = new FakeBucket();
    await ownedBy(bucket, { startTime: '1' });
    await expect(acquire(bucket)).resolves.toBeDefined();
  });

  it.each([
    ['another boot or machine', { bootId: 'another', pid: 2 ** 22 + 1 }],
    ['another pid namespace', { pidNamespace: 'pid:[1]', pid: 2 ** 22 + 1 }],
  ])('does not pass on from a process of %s, which may be alive', async (_where, process) => {
    const bucket = new FakeBucket();
    await ownedBy(bucket, process);
    await expect(acquire(bucket)).rejects.toMatchObject({ code: 'volume.owned' });
  });

  it('can be taken over, which the former owner notices for good', async () => {
    const bucket = new FakeBucket();
    const first = await acquire(bucket);
    await first.verify();
    const second = await acquire(bucket, { takeOver: true });
    await expect(first.verify()).rejects.toThrow(
      /^the volume was taken over: by disk "disk0" of pid \d+ on /,
    );
    await second.release({ leftovers: false });
    await expect(first.verify()).rejects.toThrow('taken over');
  });

  it.each([
    ['deleted', (bucket: FakeBucket) => bucket.objects.delete(LAYOUT.owner)],
    ['overwritten', (bucket: FakeBucket) => new FakeStore(bucket).put(LAYOUT.owner, Buffer.from('{'))],
  ])('is lost when its record was %s', async (how, harm) => {
    const bucket = new FakeBucket();
    const ownership = await acquire(bucket);
    await harm(bucket);
    const message = `the volume was taken over: the owner record was ${how}`;
    await expect(ownership.verify()).rejects.toThrow(message);
    expect(ownership.lost?.message).toBe(message);
  });

  it('is not lost because the store has lost the bucket for a while', async () => {
    const bucket = new FakeBucket();
    const store = new FakeStore(bucket);
    const ownership = (await acquire(bucket)).through(store);
    store.head = async () => undefined;
    store.broken = new StoreError('no-bucket', 'NoSuchBucket');
    await expect(ownership.verify()).rejects.toMatchObject({ kind: 'no-bucket' });
    store.broken = undefined;
    await ownership.verify();
  });

  it('is not released on behalf of the new owner', async () => {
    const bucket = new FakeBucket();
    const first = await acquire(bucket);
    await acquire(bucket, { takeOver: true });
    await first.release({ leftovers: false });
    await expect(acquire(bucket)).rejects.toMatchObject({ code: 'volume.owned' });
  });

  it('of a volume that was deleted since binds nobody', async () => {
    const bucket = new FakeBucket();
    await acquire(bucket, { volume: 'deleted' });
    await expect(acquire(bucket)).resolves.toBeDefined();
  });

  it('is refused when its record cannot be read', async () => {
    const bucket = new FakeBucket();
    await new FakeStore(bucket).put(LAYOUT.owner, Buffer.from('{'));
    await expect(acquire(bucket, { takeOver: true })).rejects.toMatchObject({
      code: 'volume.owner-unreadable',
    });
  });

  it('knows a store that honours conditions from one that does not', async () => {
    const bucket = new FakeBucket();
    const ownership = await acquire(bucket);
    expect(await ownership.conditionsHold()).toBe(true);
    bucket.conditional = false;
    expect(await ownership.conditionsHold()).toBe(false);
  });
});
