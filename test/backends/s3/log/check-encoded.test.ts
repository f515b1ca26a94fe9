import { describe, expect, it } from 'vitest';
import { checkVolume } from '../../../../backends/s3/log/check/check-volume.ts';
import { createSnapshot } from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import type { FakeBucket } from '../fake-store.ts';
import { MIB, pattern } from '../harness.ts';
import { newVolume, opened, operate } from './disk.ts';

process.env['CHECK_PASSPHRASE'] = 'correct horse';
const ENCODED = { compression: 'zstd', encryption: { passphrase: { env: 'CHECK_PASSPHRASE' } } };

const check = (bucket: FakeBucket) =>
  operate(
    bucket,
    (operation) => checkVolume(operation, { data: true, repair: false, progress: () => undefined }),
    ENCODED,
  );

describe('the check of a volume that is compressed and encrypted', () => {
  it('reads all of it, and knows a frame that only looks whole', async () => {
    const bucket = await newVolume(16 * MIB, ENCODED);
    {
      await using disk = await opened(bucket, ENCODED);
      for (let i = 0; i < 4; i++) {
        await disk.device.write!(i * MIB, [pattern(MIB, i + 1)], 0);
        await disk.device.flush!(0);
      }
    }
    await operate(bucket, (operation) => createSnapshot(operation, 'one'), ENCODED);
    const sound = await check(bucket);
    expect(sound.findings).toEqual([]);
    expect(sound.counts).toMatchObject({ 'bytes of data': 4 * MIB });
    const key = [...bucket.objects.keys()].find((name) => name.includes('/log/'))!;
    const object = bucket.objects.get(key)!;
    const body = Buffer.from(object.body);
    body[body.length - 1]! ^= 1;
    bucket.objects.set(key, { ...object, body });
    expect((await check(bucket)).findings).toMatchObject([{ severity: 'error', where: key }]);
  });
});
