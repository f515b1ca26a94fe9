import type { KeyObject } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { FRAME } from '../../../../backends/s3/log/object-header.ts';
import {
  cloneVolume,
  createSnapshot,
  rollbackVolume,
} from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import type { FakeBucket } from '../fake-store.ts';
import { MIB, pattern } from '../harness.ts';
import { BLOCK, newVolume, opened, operate, settings } from './disk.ts';
import { keyFile } from './key-files.ts';

const { used, repeated } = vi.hoisted(() => ({ used: new Set<string>(), repeated: [] as string[] }));

vi.mock('node:crypto', async (original) => {
  const crypto = await original<typeof import('node:crypto')>();
  const createCipheriv = (...args: Parameters<typeof crypto.createCipheriv>) => {
    const key = args[1] as Buffer | KeyObject;
    const bytes = Buffer.isBuffer(key) ? key : key.export();
    const pair = `${bytes.toString('hex')} ${Buffer.from(args[2] as Buffer).toString('hex')}`;
    if (used.has(pair)) repeated.push(pair);
    used.add(pair);
    return crypto.createCipheriv(...args);
  };
  return { ...crypto, createCipheriv };
});

const ENCRYPTED = { encryption: keyFile('key') };

async function write(bucket: FakeBucket, lba: number, tag: number, options: Record<string, unknown>) {
  await using disk = await opened(bucket, options);
  await disk.device.write!(lba * BLOCK, [pattern(FRAME, tag)], 0);
  await disk.device.flush!(0);
}

describe('the keys and nonces of an encrypted volume', () => {
  it.each([1, 2, 3, 4, 5])(
    'never repeat, whoever takes the volume, clones it or rolls it back, seed %i',
    async (seed) => {
      const random = seededRandom(seed);
      used.clear();
      repeated.length = 0;
      const bucket = await newVolume(MIB, ENCRYPTED);
      const prefixes = ['disks/a'];
      for (let step = 0; step < 40; step++) {
        const prefix = prefixes[Math.floor(random() * prefixes.length)]!;
        const options = { ...ENCRYPTED, prefix };
        const name = `snapshot-${step}`;
        const kind = random();
        if (kind < 0.4) await write(bucket, Math.floor(random() * 200), step + 1, options);
        else if (kind < 0.6) {
          // Two have it: the second one finds what the first one has written, and fences it.
          await using first = await opened(bucket, options);
          await first.device.write!(0, [pattern(FRAME, step)], 0);
          await using second = await opened(bucket, options, { takeOver: true });
          await second.device.write!(0, [pattern(FRAME, step)], 0);
          await second.device.flush!(0);
          await first.device.write!(0, [pattern(FRAME, step)], 0);
          await (async () => first.device.flush!(0))().catch(() => undefined);
        } else if (kind < 0.8 && prefixes.length < 4) {
          await operate(bucket, (operation) => createSnapshot(operation, name), options);
          const clone = settings({ ...ENCRYPTED, prefix: `clone-${step}` });
          await operate(bucket, (operation) => cloneVolume(operation, name, clone), options);
          prefixes.push(clone.prefix);
        } else {
          await operate(bucket, (operation) => createSnapshot(operation, name), options);
          await operate(bucket, (operation) => rollbackVolume(operation, name), options);
        }
      }
      expect(used.size).toBeGreaterThan(30);
      expect(repeated, `seed ${seed}`).toEqual([]);
    },
  );

  it('do not repeat when a backup of the bucket is restored, and names come again', async () => {
    used.clear();
    repeated.length = 0;
    const bucket = await newVolume(MIB, ENCRYPTED);
    await write(bucket, 0, 1, ENCRYPTED);
    const backup = new Map(bucket.objects);
    await write(bucket, 0, 2, ENCRYPTED);
    const names = [...bucket.objects.keys()];
    bucket.objects.clear();
    for (const [key, object] of backup) bucket.objects.set(key, object);
    await write(bucket, 0, 3, ENCRYPTED);
    expect([...bucket.objects.keys()]).toEqual(names);
    expect(repeated).toEqual([]);
  });
});
