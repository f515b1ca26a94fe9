import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { VolumeKey } from '../../../../backends/s3/log/encryption/volume-key.ts';
import { decodeHeader, encodeHeader, FRAME } from '../../../../backends/s3/log/object-header.ts';
import {
  cloneVolume,
  createSnapshot,
  deleteSnapshot,
  rollbackVolume,
} from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import {
  createVolume,
  deleteVolume,
  listVolumes,
  rekeyVolume,
  resizeVolume,
  volumeInfo,
} from '../../../../backends/s3/volumes.ts';
import { seededRandom } from '../../../../core/util/random.ts';
import type { FakeBucket } from '../fake-store.ts';
import { MIB, pattern, readAll, sameBytes } from '../harness.ts';
import { BLOCK, newVolume, opened, operate, refusal, settings } from './disk.ts';
import { keyFile, passphrase } from './key-files.ts';

const ENCRYPTED = { encryption: keyFile('key') };
const OTHER = { encryption: keyFile('other') };

const logKeys = (bucket: FakeBucket) => [...bucket.objects.keys()].filter((key) => key.includes('/log/'));

/** Replaces what is stored, as somebody does who has the bucket. */
function tamper(bucket: FakeBucket, key: string, change: (body: Buffer) => Buffer): void {
  const there = bucket.objects.get(key)!;
  const body = Buffer.from(there.body);
  bucket.objects.set(key, { ...there, body: change(body) });
}

async function write(
  bucket: FakeBucket,
  lba: number,
  tag: number,
  options: Record<string, unknown> = ENCRYPTED,
) {
  await using disk = await opened(bucket, options);
  await disk.device.write!(lba * BLOCK, [pattern(FRAME, tag)], 0);
  await disk.device.flush!(0);
}

async function holds(
  bucket: FakeBucket,
  lba: number,
  tag: number,
  options: Record<string, unknown> = ENCRYPTED,
) {
  await using disk = await opened(bucket, options);
  return sameBytes(await readAll(disk.device, lba * BLOCK, FRAME), pattern(FRAME, tag));
}

describe('a volume that is encrypted', () => {
  it.each([
    [1, 'none'],
    [2, 'zstd'],
    [3, 'zstd'],
    [4, 'lz4'],
  ])('holds what a model holds, seed %i, compression %s', async (seed, compression) => {
    const random = seededRandom(seed);
    const options = { ...ENCRYPTED, compression };
    const bucket = await newVolume(MIB, options);
    const model = Buffer.alloc(MIB);
    for (let round = 0; round < 5; round++) {
      await using disk = await opened(bucket, { ...options, readCache: 0 });
      for (let i = 0; i < 20; i++) {
        const blocks = 1 + Math.floor(random() * 40);
        const lba = Math.floor(random() * (256 - blocks));
        const bytes = Buffer.from(pattern(blocks * BLOCK, 1 + Math.floor(random() * 1e9)));
        if (random() < 0.5) for (let at = 0; at < bytes.length / 2; at++) bytes[at] = random() * 256;
        bytes.copy(model, lba * BLOCK);
        await disk.device.write!(lba * BLOCK, [bytes], 0);
        if (random() < 0.4) await disk.device.flush!(0);
      }
      await disk.device.flush!(0);
      expect(sameBytes(await readAll(disk.device, 0, MIB), model)).toBe(true);
      if (round === 2) await disk.device.snapshot!('checkpoint');
    }
    await using disk = await opened(bucket, options, { readOnly: true });
    expect(sameBytes(await readAll(disk.device, 0, MIB), model)).toBe(true);
    expect((await operate(bucket, volumeInfo, options)).details).toMatchObject({
      encryption: 'aes-256-gcm',
      compression,
    });
  });

  it('stores nothing that shows what it holds or where', async () => {
    const bucket = await newVolume(64 * MIB, ENCRYPTED);
    const text = Buffer.alloc(MIB, 'a very secret text, ');
    {
      await using disk = await opened(bucket, ENCRYPTED);
      await disk.device.write!(0x1234 * BLOCK, [text], 0);
      await disk.device.flush!(0);
      await disk.device.snapshot!('checkpoint');
    }
    const place = Buffer.alloc(8);
    place.writeBigUInt64LE(0x1234n);
    for (const [key, { body }] of bucket.objects) {
      expect(body.includes('secret text'), key).toBe(false);
      expect(body.includes(place), key).toBe(false);
    }
    expect(bucket.objects.size).toBeGreaterThan(4);
  });

  it('is opened with a passphrase as well, and with what a command prints', async () => {
    const words = { encryption: passphrase('correct horse\n') };
    const bucket = await newVolume(MIB, words);
    await write(bucket, 0, 1, words);
    expect(await holds(bucket, 0, 1, words)).toBe(true);
    const command = { encryption: { keyCommand: ['base64', '-w0', ENCRYPTED.encryption.keyFile] } };
    const keys = { ...ENCRYPTED, prefix: 'b' };
    await newVolume(MIB, keys, bucket);
    await write(bucket, 0, 1, keys);
    await using disk = await opened(bucket, { ...command, prefix: 'b' }, { baseDir: '/' });
    expect(sameBytes(await readAll(disk.device, 0, FRAME), pattern(FRAME, 1))).toBe(true);
  });

  it('is not opened with another key, without one, or with one that it does not need', async () => {
    const bucket = await newVolume(MIB, ENCRYPTED);
    await newVolume(MIB, { prefix: 'plain' }, bucket);
    expect((await refusal(opened(bucket, OTHER))).code).toBe('volume.wrong-key');
    expect((await refusal(opened(bucket, {}))).code).toBe('volume.key-missing');
    expect((await refusal(opened(bucket, {}, { readOnly: true }))).code).toBe('volume.key-missing');
    expect((await refusal(opened(bucket, { ...ENCRYPTED, prefix: 'plain' }))).code).toBe(
      'volume.not-encrypted',
    );
    expect((await refusal(operate(bucket, volumeInfo, OTHER))).code).toBe('volume.wrong-key');
    expect((await refusal(opened(bucket, { encryption: passphrase('x') }))).why).toBe(
      'The configuration has a passphrase, and a key opens the volume.',
    );
    const chunk = { ...ENCRYPTED, layout: 'chunk', prefix: 'c', size: MIB };
    expect((await refusal(operate(bucket, createVolume, chunk))).code).toBe('volume.unsupported');
    // What needs no key works without.
    expect(await operate(bucket, listVolumes)).toHaveLength(1);
    expect((await operate(bucket, (operation) => resizeVolume(operation, 2 * MIB))).size).toBe(2 * MIB);
    await operate(bucket, (operation) => deleteVolume(operation, { force: false, progress: () => {} }));
    expect([...bucket.objects.keys()].filter((key) => key.startsWith('disks/a/'))).toEqual([]);
  });

  it('is refused by a blockgate that cannot encrypt', async () => {
    const bucket = await newVolume(MIB, ENCRYPTED);
    const record = JSON.parse(bucket.objects.get('disks/a/volume.json')!.body.toString());
    expect(record.requiredFeatures).toEqual(['encryption']);
    tamper(bucket, 'disks/a/volume.json', (body) =>
      Buffer.from(body.toString().replace('"encryption"\n', '"rot13"\n')),
    );
    expect((await refusal(opened(bucket, ENCRYPTED))).code).toBe('volume.unsupported-feature');
  });

  it('goes on being created with the key with which that was begun', async () => {
    const bucket = await newVolume(MIB, ENCRYPTED);
    bucket.objects.delete('disks/a/head');
    expect((await refusal(newVolume(MIB, OTHER, bucket))).code).toBe('volume.wrong-key');
    expect((await refusal(newVolume(MIB, {}, bucket))).code).toBe('volume.key-missing');
    await newVolume(MIB, ENCRYPTED, bucket);
    expect((await refusal(newVolume(MIB, ENCRYPTED, bucket))).code).toBe('volume.exists');
  });

  it('is opened with a new key, and not with the old one, after a change that moves no data', async () => {
    const bucket = await newVolume(MIB, ENCRYPTED);
    await write(bucket, 0, 1);
    await using disk = await opened(bucket, ENCRYPTED);
    const before = new Map([...bucket.objects].map(([key, { body }]) => [key, body]));
    const rekey = (options: Record<string, unknown>, next: unknown) =>
      operate(bucket, (operation) => rekeyVolume(operation, next), options);
    expect((await refusal(rekey(OTHER, OTHER.encryption))).code).toBe('volume.wrong-key');
    expect((await refusal(rekey({}, OTHER.encryption))).code).toBe('volume.key-missing');
    expect((await refusal(rekey(ENCRYPTED, { passphrase: 'hunter2' }))).code).toBe('config.invalid');
    await rekey(ENCRYPTED, OTHER.encryption);
    const changed = [...bucket.objects].filter(([key, { body }]) => before.get(key) !== body);
    expect(changed.map(([key]) => key)).toEqual(['disks/a/keys']);
    // Who has it open goes on.
    await disk.device.write!(4 * BLOCK, [pattern(FRAME, 2)], 0);
    await disk.device.flush!(0);
    await disk.device[Symbol.asyncDispose]();
    expect((await refusal(opened(bucket, ENCRYPTED))).code).toBe('volume.wrong-key');
    expect(await holds(bucket, 0, 1, OTHER)).toBe(true);
    expect(await holds(bucket, 4, 2, OTHER)).toBe(true);
  });

  it('has snapshots and clones, which the same key opens', async () => {
    const bucket = await newVolume(MIB, ENCRYPTED);
    const clone = { ...ENCRYPTED, prefix: 'clone' };
    const snapshot = (name: string) =>
      operate(bucket, (operation) => createSnapshot(operation, name), ENCRYPTED);
    await write(bucket, 0, 1);
    await snapshot('one');
    await write(bucket, 0, 2);
    await snapshot('two');
    const cloned = (target: Record<string, unknown>) =>
      operate(bucket, (operation) => cloneVolume(operation, 'one', settings(target)), ENCRYPTED);
    expect((await refusal(cloned({ prefix: 'clone' }))).code).toBe('volume.key-missing');
    expect((await refusal(cloned({ ...OTHER, prefix: 'clone' }))).code).toBe('volume.wrong-key');
    await cloned(clone);
    expect(await holds(bucket, 0, 1, clone)).toBe(true);
    await write(bucket, 4, 3, clone);
    expect(await holds(bucket, 0, 1, clone)).toBe(true);
    expect(await holds(bucket, 4, 3, clone)).toBe(true);
    await operate(bucket, (operation) => rollbackVolume(operation, 'one'), ENCRYPTED);
    expect(await holds(bucket, 0, 1)).toBe(true);
    await operate(bucket, (operation) => deleteSnapshot(operation, 'two'), ENCRYPTED);
    expect(await holds(bucket, 0, 1)).toBe(true);
  });
});

describe('somebody who can write to the bucket of an encrypted volume', () => {
  async function twoObjects() {
    const bucket = await newVolume(MIB, ENCRYPTED);
    await using disk = await opened(bucket, ENCRYPTED);
    for (const i of [0, 1]) {
      await disk.device.write!(i * 2 * FRAME, [pattern(2 * FRAME, i + 1)], 0);
      await disk.device.flush!(0);
    }
    // From here on the headers are not part of a recovery.
    await disk.device.snapshot!('checkpoint');
    return bucket;
  }

  async function expectRefused(bucket: FakeBucket, block: number) {
    await using disk = await opened(bucket, ENCRYPTED);
    await expect(readAll(disk.device, block * BLOCK, BLOCK)).rejects.toMatchObject({
      code: 'EIO',
      message: expect.stringContaining('damaged'),
    });
  }

  /** The object again with other stored frames, and checksums that are right. */
  function withFrames(body: Buffer, key: string, order: (frames: Buffer[]) => Buffer[]): Buffer {
    // Without the key the table of frames cannot be changed: they go where frames of the same length were.
    const headerBytes = body.readUInt32LE(16);
    const length = (body.length - headerBytes) / 2;
    const frames = [0, 1].map((i) => body.subarray(headerBytes + i * length, headerBytes + (i + 1) * length));
    expect(key).toContain('/log/');
    return Buffer.concat([body.subarray(0, headerBytes), ...order(frames)]);
  }

  it('cannot exchange objects', async () => {
    const bucket = await twoObjects();
    const [first, second] = logKeys(bucket);
    const [a, b] = [bucket.objects.get(first!)!, bucket.objects.get(second!)!];
    bucket.objects.set(first!, b).set(second!, a);
    await expectRefused(bucket, 0);
    await expectRefused(bucket, 8);
  });

  it('cannot exchange frames', async () => {
    const bucket = await twoObjects();
    const [first] = logKeys(bucket);
    tamper(bucket, first!, (body) => withFrames(body, first!, (frames) => frames.reverse()));
    await expectRefused(bucket, 0);
  });

  it('cannot exchange frames, or put in those of another object, with checksums that are right', () => {
    const [key, volume] = [new VolumeKey(randomBytes(32)), randomBytes(16)];
    const [salt, other] = [randomBytes(16), randomBytes(16)];
    const sealed = key.cipher('a', salt, volume).seal(1, Buffer.from('data'));
    const open = (name: string, nonce: Buffer, uuid: Buffer, part: number) => () =>
      key.cipher(name, nonce, uuid).open(part, sealed).toString();
    expect(open('a', salt, volume, 1)()).toBe('data');
    expect(open('b', salt, volume, 1)).toThrow('not what was sealed');
    expect(open('a', other, volume, 1)).toThrow('not what was sealed');
    expect(open('a', salt, other, 1)).toThrow('not what was sealed');
    expect(open('a', salt, volume, 0)).toThrow('not what was sealed');
    sealed[0]! ^= 1;
    expect(open('a', salt, volume, 1)).toThrow('not what was sealed');
  });

  it('cannot change a table, nor put in an object or a checkpoint that is not encrypted', async () => {
    const bucket = await newVolume(MIB, ENCRYPTED);
    await write(bucket, 0, 1);
    const [key] = logKeys(bucket);
    const whole = bucket.objects.get(key!)!;
    const plain = encodeHeader({
      volume: whole.body.subarray(24, 40),
      nonce: whole.body.subarray(40, 56),
      place: { epoch: Number(whole.body.readBigUInt64LE(56)), seq: 1 },
      isFence: false,
      previous: whole.body.subarray(72, 104),
      parent: { epoch: 0, seq: 0 },
      firstRequest: 1,
      lastRequest: 1,
      blocks: 0,
      extents: [{ kind: 'zero', lba: 0, blocks: 4, block: 0 }],
      frames: [],
      cipher: undefined,
    });
    tamper(bucket, key!, () => plain);
    expect(await refusal(opened(bucket, ENCRYPTED))).toMatchObject({
      code: 'volume.corrupt',
      why: 'it is not encrypted, and the volume is',
    });
    expect(decodeHeader(whole.body, { name: key!, key: undefined })).toBe(
      'it is encrypted, and the volume is not',
    );
    expect(decodeHeader(whole.body, { name: key!, key: new VolumeKey(Buffer.alloc(32)) })).toContain(
      'cannot be opened',
    );
  });

  it('cannot change a checkpoint', async () => {
    const bucket = await twoObjects();
    const [key] = [...bucket.objects.keys()].filter((name) => name.includes('/ckpt/'));
    for (const at of [20, 60, 100]) {
      const whole = bucket.objects.get(key!)!;
      tamper(bucket, key!, (body) => {
        body[at]! ^= 1;
        return body;
      });
      expect((await refusal(opened(bucket, ENCRYPTED))).code).toBe('volume.corrupt');
      bucket.objects.set(key!, whole);
    }
  });

  it.each([
    [
      'a slot that wants too much memory',
      (text: string) => text.replace('"cost": 65536', '"cost": 1073741824'),
    ],
    ['something else', () => '{}'],
  ])('is told so when the keys are %s', async (_name, change) => {
    const words = { encryption: passphrase('correct horse') };
    const bucket = await newVolume(MIB, words);
    tamper(bucket, 'disks/a/keys', (body) => Buffer.from(change(body.toString())));
    expect((await refusal(opened(bucket, words))).code).toBe('volume.corrupt');
  });
});
