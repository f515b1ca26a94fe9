import { describe, expect, it } from 'vitest';
import { createSnapshot } from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import type { FakeBucket } from '../fake-store.ts';
import { MIB } from '../harness.ts';
import {
  bodyOf,
  changeHead,
  check,
  errorsOf,
  headOf,
  inCheckpoint,
  logKey,
  newVolume,
  on,
  replace,
  SIZE,
  sealed,
  threeObjects,
  withRoot,
  withSlice,
  write,
} from './check-world.ts';

/** At a byte, counted from the end when it is negative. */
const flip = (at: number) => (body: Buffer) => {
  const index = at < 0 ? body.length + at : at;
  body.writeUInt8(body[index]! ^ 0x40, index);
  return body;
};

const both = (offset: number, length: number) => [
  { offset, length },
  { snapshot: 'kept', offset, length },
];

describe('the check of a log', () => {
  it('finds nothing wrong with a volume that is as it should be, and says what it looked at', async () => {
    const bucket = await newVolume();
    expect((await check(bucket)).findings).toEqual([]);
    const { bucket: full } = await inCheckpoint();
    await write(full, 'a', [8 * MIB, 4]);
    const before = new Map(full.objects);
    const checked = await check(full);
    expect(checked.findings).toEqual([]);
    expect(checked.counts).toMatchObject({
      checkpoints: 2,
      snapshots: 1,
      objects: 4,
      'objects replayed': 1,
      'bytes of data': 4 * MIB,
    });
    expect(full.objects).toEqual(before);
  });

  describe('names what is damaged of the log, and what of the disk that is', () => {
    it.each<[string, (body: Buffer) => Buffer, string]>([
      ['a flipped byte in a header', flip(60), 'checksum of its header'],
      ['a header cut short', (body) => body.subarray(0, 100), 'are no object of a log'],
      ['nothing of it left', () => Buffer.alloc(0), 'are no object of a log'],
    ])('%s', async (_name, damage, what) => {
      const { bucket, keys } = await inCheckpoint();
      await replace(bucket, keys[1], damage(bodyOf(bucket, keys[1])));
      const { findings } = await check(bucket, 'a', { data: false });
      expect(findings).toEqual([
        expect.objectContaining({
          severity: 'error',
          where: keys[1],
          what: expect.stringContaining(what),
          affected: both(8 * MIB, MIB),
          repair: 'none',
        }),
      ]);
    });

    it('an object that is missing', async () => {
      const { bucket, keys } = await inCheckpoint();
      bucket.objects.delete(keys[2]);
      expect((await check(bucket)).findings).toMatchObject([
        { where: keys[2], what: 'it is missing', affected: both(16 * MIB, MIB) },
      ]);
    });

    it('an object that was truncated, without reading its data', async () => {
      const { bucket, keys } = await inCheckpoint();
      await replace(bucket, keys[0], bodyOf(bucket, keys[0]).subarray(0, -4096));
      expect((await check(bucket, 'a', { data: false })).findings).toMatchObject([
        { where: keys[0], what: expect.stringContaining('its header describes'), affected: both(0, MIB) },
      ]);
    });

    it('a flipped byte of data, when data is read, as far as its frame reaches', async () => {
      const { bucket, keys } = await inCheckpoint();
      const body = bodyOf(bucket, keys[1]);
      const at = body.length - MIB + 5 * 16384 + 100;
      flip(at)(body);
      await replace(bucket, keys[1], body);
      expect((await check(bucket, 'a', { data: false })).findings).toEqual([]);
      expect((await check(bucket)).findings).toMatchObject([
        {
          severity: 'error',
          where: keys[1],
          what: expect.stringContaining('1 of its 64 frames are damaged'),
          affected: both(8 * MIB + 5 * 16384, 16384),
        },
      ]);
    });

    it('only as a warning when no block comes from there', async () => {
      const bucket = await newVolume();
      await write(bucket, 'a', [0, 1], [0, 2]);
      const key = logKey(bucket, 1);
      const body = bodyOf(bucket, key);
      flip(-1)(body);
      await replace(bucket, key, body);
      expect((await check(bucket)).findings).toMatchObject([{ severity: 'warning', where: key }]);
    });

    it('an object of another volume, or of another place, under its name', async () => {
      const { bucket, keys } = await inCheckpoint();
      await replace(bucket, keys[1], bodyOf(bucket, keys[0]));
      const other = bodyOf(bucket, keys[2]);
      flip(24)(other);
      await replace(bucket, keys[2], sealed(other, 20, other.readUInt32LE(16)));
      expect(errorsOf(await check(bucket)).sort()).toEqual([
        `${keys[1]}: it is another object of the log, under this name`,
        `${keys[2]}: it belongs to another volume`,
      ]);
    });

    it('a chain that is broken between objects of a checkpoint', async () => {
      const { bucket, keys } = await inCheckpoint();
      const body = bodyOf(bucket, keys[1]);
      flip(72)(body);
      await replace(bucket, keys[1], sealed(body, 20, body.readUInt32LE(16)));
      const errors = errorsOf(await check(bucket));
      expect(errors.map((error) => error.slice(0, keys[1].length)).sort()).toEqual([keys[1], keys[2]]);
      expect(errors[0]).toContain('the chain of hashes is broken');
    });

    it('another object where the checkpoint ends', async () => {
      const { bucket, keys } = await inCheckpoint();
      const ref = headOf(bucket).checkpoint!;
      const hash = '0'.repeat(64);
      await changeHead(bucket, { checkpoint: { ...ref, hash } });
      expect(errorsOf(await check(bucket))).toEqual([
        expect.stringContaining(`${keys[2]}: it is not the object`),
      ]);
    });
  });

  describe('of what comes after the checkpoint', () => {
    it('says what cannot be replayed when an object is missing', async () => {
      const bucket = await threeObjects();
      const key = logKey(bucket, 2);
      bucket.objects.delete(key);
      const { findings } = await check(bucket);
      expect(findings).toMatchObject([
        { where: key, what: 'it is missing', affected: [] },
        {
          where: key,
          what: expect.stringContaining('cannot be replayed'),
          affected: [{ offset: 16 * MIB, length: MIB }],
        },
      ]);
    });

    it('finds a broken chain', async () => {
      const bucket = await threeObjects();
      const key = logKey(bucket, 2);
      const body = bodyOf(bucket, key);
      flip(72)(body);
      await replace(bucket, key, sealed(body, 20, body.readUInt32LE(16)));
      expect(errorsOf(await check(bucket))[0]).toBe(
        `${key}: it does not continue the object before it: the chain of hashes is broken`,
      );
    });

    it('finds an extent beyond the end of the disk', async () => {
      const bucket = await threeObjects();
      await changeHead(bucket, { size: 16 * MIB });
      expect(errorsOf(await check(bucket))).toEqual([
        expect.stringContaining('the volume was created with'),
        `${logKey(bucket, 3)}: an extent of it lies beyond the end of the disk`,
      ]);
    });

    it('finds that an open epoch goes on behind a gap that no writer could have left', async () => {
      const bucket = await newVolume();
      await write(bucket, 'a', ...Array.from({ length: 10 }, (_, i) => [i * MIB, i + 1] as const));
      const { epoch } = headOf(bucket);
      await changeHead(bucket, { epochs: [{ epoch }] });
      expect((await check(bucket)).findings).toEqual([]);
      bucket.objects.delete(logKey(bucket, 2));
      const { findings } = await check(bucket, 'a', { repair: true });
      expect(findings.filter(({ severity }) => severity === 'error')).toMatchObject([
        { where: logKey(bucket, 8), what: expect.stringContaining('ends at 1') },
        { where: logKey(bucket, 9) },
        { where: logKey(bucket, 10) },
      ]);
      // Somebody may still need what is there.
      expect(findings.at(-1)!.what).toContain('nothing was repaired');
      expect(bucket.objects.has(logKey(bucket, 3))).toBe(true);
    });
  });

  describe('of checkpoints', () => {
    it.each<[string, (bucket: FakeBucket, key: string) => Buffer, string]>([
      ['a flipped byte', (bucket, key) => flip(100)(bodyOf(bucket, key)), 'checksum'],
      ['one of another moment', (bucket, key) => withRoot(bucket, key, flip(24)), 'another moment'],
      ['one that makes no sense', (bucket, key) => withRoot(bucket, key, flip(64)), 'make no sense'],
    ])('finds %s, and that all of the snapshot is affected', async (_name, damage, what) => {
      const { bucket, checkpoint } = await inCheckpoint();
      await write(bucket, 'a', [32 * MIB, 9]);
      await on(bucket, 'a', (operation) => createSnapshot(operation, 'later'));
      await replace(bucket, checkpoint, damage(bucket, checkpoint));
      expect((await check(bucket)).findings.filter(({ severity }) => severity === 'error')).toMatchObject([
        {
          where: checkpoint,
          what: expect.stringContaining(what),
          affected: [{ snapshot: 'kept', offset: 0, length: SIZE }],
        },
      ]);
    });

    it.each<[string, (bucket: FakeBucket, key: string) => Promise<unknown> | unknown, string]>([
      [
        'was cut short',
        (bucket, key) => replace(bucket, key, bodyOf(bucket, key).subarray(0, 70)),
        'ends after 70 bytes',
      ],
      ['is missing', (bucket, key) => bucket.objects.delete(key), 'it is missing'],
    ])('finds one that %s, and what else needs it', async (_name, damage, what) => {
      const { bucket, checkpoint } = await inCheckpoint();
      await write(bucket, 'a', [32 * MIB, 9]);
      await on(bucket, 'a', (operation) => createSnapshot(operation, 'later'));
      await damage(bucket, checkpoint);
      const errors = (await check(bucket)).findings.filter(({ severity }) => severity === 'error');
      expect(errors.every((error) => error.what.includes(what))).toBe(true);
      // The disk as it is now has only changed what the snapshot before has of the map.
      expect(errors.flatMap(({ affected }) => affected)).toEqual([
        { offset: 0, length: SIZE },
        { snapshot: 'kept', offset: 0, length: SIZE },
        { snapshot: 'later', offset: 0, length: SIZE },
      ]);
    });

    it.each<[string, (page: Buffer) => unknown, string]>([
      ['beyond the end of its object', (page) => page.writeUInt32LE(200, page.length - 12), 'of a/log/'],
      ['beyond the end of its page', (page) => page.writeUInt16LE(65535, page.length - 18), 'beyond its end'],
      ['from no object', (page) => page.writeUInt32LE(77, page.length - 16), 'from no object'],
      ['of another page', (page) => page.writeUInt32LE(3, 4), 'page 3 is where page 0 should be'],
    ])('finds a mapping %s', async (_name, damage, what) => {
      const { bucket, checkpoint } = await inCheckpoint();
      await replace(bucket, checkpoint, withSlice(bucket, checkpoint, 'page', damage));
      const { findings } = await check(bucket);
      const damaged = findings.filter(({ severity }) => severity === 'error');
      // Of the disk, and of the snapshot.
      expect(damaged).toMatchObject([
        { what: expect.stringContaining(what), affected: [{ offset: 0, length: SIZE }] },
        { what: expect.stringContaining(what), affected: [{ snapshot: 'kept', offset: 0, length: SIZE }] },
      ]);
    });

    it('finds a mapping beyond the end of the disk', async () => {
      const { bucket } = await inCheckpoint();
      await changeHead(bucket, { size: 16 * MIB });
      expect(errorsOf(await check(bucket))).toEqual([
        expect.stringContaining('the volume was created with'),
        expect.stringContaining('beyond the end of the disk'),
      ]);
    });

    it('finds a mapping to where the object holds other blocks', async () => {
      const { bucket, keys, checkpoint } = await inCheckpoint();
      const body = withSlice(bucket, checkpoint, 'page', (page) => {
        const at = page.length - 20;
        page.writeUInt16LE(page.readUInt16LE(at) + 256, at);
      });
      await replace(bucket, checkpoint, body);
      expect((await check(bucket)).findings).toMatchObject([
        {
          where: keys[2],
          what: expect.stringContaining('does not hold there'),
          affected: both(17 * MIB, MIB),
        },
      ]);
    });

    it('finds that too few blocks of an object are counted', async () => {
      const { bucket, keys, checkpoint } = await inCheckpoint();
      const body = withSlice(bucket, checkpoint, 'table', (table) => table.writeInt32LE(0, table.length - 8));
      await replace(bucket, checkpoint, body);
      expect(errorsOf(await check(bucket))[0]).toBe(
        `${checkpoint}: it counts 0 blocks of ${keys[2]}, and 256 come from there`,
      );
    });

    it('finds that the table of objects is damaged', async () => {
      const { bucket, checkpoint } = await inCheckpoint();
      const body = withSlice(bucket, checkpoint, 'table', (table) => table.writeUInt32LE(9, 8));
      await replace(bucket, checkpoint, body);
      expect(errorsOf(await check(bucket))[0]).toContain('the table of objects of the checkpoint is damaged');
    });
  });

  describe('of the head', () => {
    it('says that it cannot be read, or is missing', async () => {
      const bucket = await threeObjects();
      const head = bodyOf(bucket, 'a/head');
      await replace(bucket, 'a/head', head.subarray(0, 40));
      expect(errorsOf(await check(bucket))).toEqual([expect.stringContaining('a/head: it is damaged')]);
      bucket.objects.delete('a/head');
      expect(errorsOf(await check(bucket))).toEqual([
        'a/head: it is missing, and 3 objects of the log are there',
      ]);
      await replace(
        bucket,
        'a/head',
        Buffer.from(head.toString().replace(/"volume": ".*"/, '"volume": "other"')),
      );
      expect(errorsOf(await check(bucket))).toEqual(['a/head: it belongs to another volume']);
    });

    it('finds that it is an older one than the log', async () => {
      const bucket = await threeObjects();
      const old = bodyOf(bucket, 'a/head');
      await write(bucket, 'a', [0, 5]);
      const key = logKey(bucket, 1);
      await replace(bucket, 'a/head', old);
      const { findings } = await check(bucket, 'a', { repair: true });
      expect(findings[0]).toMatchObject({
        severity: 'error',
        where: key,
        what: expect.stringContaining('older one'),
      });
      expect(bucket.objects.has(key)).toBe(true);
    });

    it('finds that a checkpoint knows more than the log holds', async () => {
      const { bucket, keys, checkpoint } = await inCheckpoint();
      const { epoch } = headOf(bucket);
      // As it was after the first object.
      await changeHead(bucket, { checkpoint: null, snapshots: [], epochs: [{ epoch: epoch - 1, end: 1 }] });
      const { findings } = await check(bucket, 'a', { repair: true });
      expect(findings).toMatchObject([
        { severity: 'error', where: checkpoint, what: expect.stringContaining('the head is an older one') },
        { severity: 'warning', where: keys[1], count: 2, repair: 'possible' },
        { severity: 'warning', what: expect.stringContaining('nothing was repaired') },
      ]);
      expect(bucket.objects.has(keys[1])).toBe(true);
    });

    it('finds what does not fit together, and what is condemned and needed', async () => {
      const { bucket, keys } = await inCheckpoint();
      const { snapshots, epoch } = headOf(bucket);
      await changeHead(bucket, {
        snapshots: [...snapshots, ...snapshots],
        epochs: [{ epoch: epoch + 1, end: 0 }],
        condemned: [keys[0]],
      });
      expect(errorsOf(await check(bucket))).toEqual([
        `a/head: epoch ${epoch + 1} is listed, and ${epoch} is the latest`,
        'a/head: there are two snapshots "kept"',
        `a/head: it condemns ${keys[0]}, which is needed`,
      ]);
    });
  });
});
