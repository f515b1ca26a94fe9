import { describe, expect, it } from 'vitest';
import s3 from '../../../../backends/s3/index.ts';
import { type Operation, withStore } from '../../../../backends/s3/operation.ts';
import * as volumes from '../../../../backends/s3/volumes.ts';
import { FakeStore } from '../fake-store.ts';
import { context, MIB } from '../harness.ts';
import { newVolume, refusal, settings as volumeSettings } from '../log/disk.ts';
import { bucketWith, KEY, settings, upload } from './images.ts';

describe('the volume operations on an image', () => {
  const bucket = bucketWith(Buffer.alloc(64 * MIB), '"e-4"');
  const store = new FakeStore(bucket);
  const operate = <T>(run: (operation: Operation) => Promise<T>) =>
    withStore(store, settings(), context(), run);

  it('say how large it is, which one, and what it costs', async () => {
    expect(await operate(volumes.volumeInfo)).toEqual({
      name: KEY,
      size: 64 * MIB,
      used: 64 * MIB,
      details: {
        bucket: 'bucket',
        layout: 'image',
        etag: '"e-4"',
        'storage, $ per month': 0.0014,
        access: 'read-only',
      },
    });
  });

  it('never delete it, and make no other one of it', async () => {
    const options = { force: true, progress: () => undefined };
    const attempts: Record<string, (operation: Operation) => Promise<unknown>> = {
      create: volumes.createVolume,
      resize: (operation) => volumes.resizeVolume(operation, 128 * MIB),
      delete: (operation) => volumes.deleteVolume(operation, options),
      rekey: (operation) => volumes.rekeyVolume(operation, { keyFile: 'key' }),
      snapshot: (operation) => volumes.requireLog(operation, 'have snapshots'),
    };
    for (const [name, attempt] of Object.entries(attempts)) {
      const error = await refusal(operate(attempt));
      expect(error.code, name).toBe('volume.unsupported');
      expect(error.message, name).toContain(KEY);
    }
    const { qualify, snapshots } = s3.volumes!;
    for (const attempt of [
      qualify!(settings(), context()),
      snapshots!.clone(volumeSettings(), 'snapshot', settings(), context()),
    ])
      expect((await refusal(attempt)).code).toBe('volume.unsupported');
    expect(store.requests.filter(({ operation }) => operation !== 'read')).toEqual([]);
    expect(store.keys()).toEqual([KEY]);
  });

  it('list it with the volumes beside it', async () => {
    const beside = await newVolume(16 * MIB, { prefix: 'images/a' });
    upload(beside, Buffer.alloc(MIB));
    const found = await withStore(new FakeStore(beside), settings(), context(), volumes.listVolumes);
    expect(found.map(({ name }) => name)).toEqual([KEY, 'images/a']);
  });
});
