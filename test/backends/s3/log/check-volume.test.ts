import { describe, expect, it } from 'vitest';
import { checkLog } from '../../../../backends/s3/log/check-volume.ts';
import {
  cloneVolume,
  createSnapshot,
  deleteSnapshot,
} from '../../../../backends/s3/log/snapshot-operations.ts';
import type { FakeBucket } from '../fake-store.ts';
import { KIB, MIB, pattern, readAll, sameBytes } from '../harness.ts';
import { BLOCK, newVolume, opened, operate, settings } from './disk.ts';

const options = { data: false, repair: false, progress: () => undefined };

const check = (bucket: FakeBucket, more: Partial<typeof options> = {}, config = {}) =>
  operate(bucket, (operation) => checkLog(operation, { ...options, ...more }), config);

async function summaries(bucket: FakeBucket, more: Partial<typeof options> = {}): Promise<string[]> {
  return (await check(bucket, more)).map(({ severity, summary }) => `${severity}: ${summary}`);
}

/** 2 MiB of data in several objects, and a snapshot of its first half. */
async function someVolume(config: Record<string, unknown> = {}): Promise<FakeBucket> {
  const bucket = await newVolume(16 * MIB, config);
  for (const half of [0, 1]) {
    {
      await using disk = await opened(bucket, config);
      for (let i = 0; i < 4; i++) {
        await disk.device.write!(half * MIB + i * 256 * KIB, [pattern(256 * KIB, half * 4 + i + 1)], 0);
        await disk.device.flush!(0);
      }
    }
    if (half === 0) await operate(bucket, (operation) => createSnapshot(operation, 'half'), config);
  }
  return bucket;
}

const dataObjects = (bucket: FakeBucket): string[] =>
  [...bucket.objects]
    .filter(([key, { body }]) => key.includes('/log/') && body.length > BLOCK)
    .map(([key]) => key);

function change(bucket: FakeBucket, key: string, how: (body: Uint8Array) => Uint8Array): void {
  const object = bucket.objects.get(key)!;
  const body = Buffer.from(how(Uint8Array.from(object.body)));
  bucket.objects.set(key, { ...object, body, info: { ...object.info, size: body.length } });
}

const flip = (at: number) => (body: Uint8Array) => {
  body[at < 0 ? body.length + at : at]! ^= 1;
  return body;
};

describe('the check of a volume', () => {
  it('has nothing to say against one that is as it should be, whatever happened to it', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    let state = seed;
    const below = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    const bucket = await newVolume();
    const snapshots: string[] = [];
    for (let round = 0; round < 6; round++) {
      {
        await using disk = await opened(bucket);
        for (let i = 0; i < 30; i++) {
          const at = below(3000) * BLOCK;
          if (below(5) === 0) await disk.device.discard!(at, below(64) * BLOCK, 0);
          else await disk.device.write!(at, [pattern(BLOCK * (1 + below(16)), i + 1)], 0);
          if (below(4) === 0) await disk.device.flush!(0);
        }
        await disk.device.flush!(0);
      }
      if (below(2) === 0) {
        snapshots.push(`s${round}`);
        await operate(bucket, (operation) => createSnapshot(operation, `s${round}`));
      } else if (snapshots.length > 0) {
        const gone = snapshots.shift()!;
        await operate(bucket, (operation) => deleteSnapshot(operation, gone));
      }
      const findings = await check(bucket, { data: true });
      expect(
        findings.filter(({ severity }) => severity === 'error'),
        `seed ${seed}, round ${round}`,
      ).toEqual([]);
      expect(findings.at(-1)?.summary).toContain('every byte of');
    }
  });

  it('reads all of one that is compressed and encrypted', async () => {
    process.env['CHECK_PASSPHRASE'] = 'correct horse';
    const config = { compression: 'zstd', encryption: { passphrase: { env: 'CHECK_PASSPHRASE' } } };
    const bucket = await someVolume(config);
    const findings = await check(bucket, { data: true }, config);
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({ severity: 'ok', summary: expect.stringContaining('1 snapshots') });
  });

  it.each<[string, (bucket: FakeBucket) => void, RegExp, data?: true]>([
    [
      'an object that is missing',
      (bucket) => bucket.objects.delete(dataObjects(bucket)[0]!),
      /error: .* is missing; needed for 256 KiB of the disk \(bytes 0\+262144\) and 256 KiB of snapshot "half"/,
    ],
    [
      'an object that is cut off',
      (bucket) => change(bucket, dataObjects(bucket)[0]!, (body) => body.subarray(0, -100)),
      /error: .* has \d+ bytes and should have \d+; needed for/,
    ],
    [
      'a header that is damaged',
      (bucket) => change(bucket, dataObjects(bucket)[0]!, flip(60)),
      /error: .* is damaged: .*; needed for/,
    ],
    [
      'data that is damaged',
      (bucket) => change(bucket, dataObjects(bucket)[0]!, flip(-1)),
      /error: .* cannot be read: .* checksums do not match; needed for/,
      true,
    ],
    [
      'an object under the name of another',
      (bucket) => {
        const [first, second] = dataObjects(bucket);
        bucket.objects.set(first!, bucket.objects.get(second!)!);
      },
      /error: .* is another object, under this name/,
    ],
    [
      'an object after the checkpoint that is missing',
      (bucket) => bucket.objects.delete(dataObjects(bucket).at(-1)!),
      /error: The object .* of the log is damaged\. it is missing/,
    ],
    [
      'the checkpoint of a snapshot that is missing',
      (bucket) => {
        for (const key of [...bucket.objects.keys()]) if (key.includes('/ckpt/')) bucket.objects.delete(key);
      },
      /error: .*(?:snapshot "half" is lost|damaged)/,
    ],
  ])('finds %s, and says what it was for', async (_, damage, expected, data) => {
    const bucket = await someVolume();
    damage(bucket);
    if (data) expect((await summaries(bucket)).join('\n')).not.toContain('error');
    const found = await summaries(bucket, { data: data ?? false });
    expect(found.join('\n')).toMatch(expected);
  });

  it('deletes what nothing needs, when it is told to, and nothing else', async () => {
    const bucket = await someVolume();
    const names = [...bucket.objects.keys()].sort();
    const checkpoint = names.find((key) => key.includes('/ckpt/'))!;
    const stray = [
      checkpoint.replace(/[0-9a-f]$/, (digit) => (digit === 'f' ? 'e' : 'f')),
      // Of a writer long before.
      'disks/a/log/01/0000000000000001-0000000000000001',
    ];
    bucket.objects.set(stray[0]!, bucket.objects.get(checkpoint)!);
    bucket.objects.set(stray[1]!, bucket.objects.get(dataObjects(bucket)[0]!)!);
    expect((await summaries(bucket)).join('\n')).toMatch(/warning: 2 objects with .* that nothing needs/);
    expect([...bucket.objects.keys()]).toEqual(expect.arrayContaining(stray));
    expect((await summaries(bucket, { repair: true })).at(-1)).toBe(
      'ok: 2 objects that nothing needs were deleted',
    );
    for (const key of stray) expect(bucket.objects.has(key)).toBe(false);
    expect([...bucket.objects.keys()]).toEqual(expect.arrayContaining(names));
    expect(await summaries(bucket, { data: true })).toHaveLength(1);
    await using disk = await opened(bucket);
    for (let i = 0; i < 8; i++)
      expect(sameBytes(await readAll(disk.device, i * 256 * KIB, 256 * KIB), pattern(256 * KIB, i + 1))).toBe(
        true,
      );
  });

  it('says so of a volume in use, and of a claim whose clone is gone', async () => {
    const bucket = await someVolume();
    await operate(bucket, (operation) => cloneVolume(operation, 'half', settings({ prefix: 'disks/b' })));
    expect(await summaries(bucket)).toHaveLength(1);
    bucket.objects.delete('disks/b/volume.json');
    expect((await summaries(bucket)).join('\n')).toContain('for a clone at "disks/b" that is not there');
    await using _disk = await opened(bucket);
    expect((await summaries(bucket)).join('\n')).toContain('it is in use by disk "disk0"');
  });
});
