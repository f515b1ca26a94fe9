import { describe, expect, it } from 'vitest';
import { checkVolume } from '../../../../backends/s3/log/check/check-volume.ts';
import { cloneVolume, deleteSnapshot } from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { withStore } from '../../../../backends/s3/operation.ts';
import { ownIdentity } from '../../../../core/plugin.ts';
import { FakeStore } from '../fake-store.ts';
import { context, MIB, pattern, readAll, sameBytes } from '../harness.ts';
import {
  bodyOf,
  changeHead,
  check,
  errorsOf,
  headOf,
  inCheckpoint,
  logKey,
  on,
  replace,
  settings,
  threeObjects,
  withDisk,
  write,
} from './check-world.ts';

describe('the repair of a log', () => {
  it('deletes what nothing refers to, and nothing else', async () => {
    const { bucket, keys } = await inCheckpoint();
    await on(bucket, 'a', (operation) => cloneVolume(operation, 'kept', settings('b')));
    await write(bucket, 'a', [0, 5], [8 * MIB, 6]);
    const { epoch, condemned } = headOf(bucket);
    // Of a killed gateway: an epoch that is open, an object behind its gap, a checkpoint that never counted.
    await changeHead(bucket, { epochs: [{ epoch }], condemned: [...condemned, 'a/log/01/condemned'] });
    const late = logKey(bucket, 4);
    await replace(bucket, late, bodyOf(bucket, logKey(bucket, 2)));
    const checkpoint = headOf(bucket).checkpoint!.key;
    const stray = `${checkpoint.slice(0, -1)}f`;
    await replace(bucket, stray, bodyOf(bucket, checkpoint));
    // One that was deleted, and stored again by a request that came late.
    const again = logKey(bucket, 7, epoch - 1);
    await replace(bucket, again, bodyOf(bucket, keys[1]));
    await replace(bucket, 'a/notes.txt', Buffer.from('mine'));
    const expected = [
      { severity: 'warning', where: stray, what: 'a checkpoint that nothing refers to' },
      { severity: 'warning', count: 2, what: 'an object of the log that nothing refers to' },
      { severity: 'warning', where: 'a/notes.txt', repair: 'none' },
    ];
    const found = await check(bucket);
    expect(found.findings).toMatchObject(expected);
    expect(found.findings.map(({ repair }) => repair)).toEqual(['possible', 'possible', 'none']);

    const before = new Set(bucket.objects.keys());
    const { findings } = await check(bucket, 'a', { repair: true });
    expect(findings.map(({ repair }) => repair)).toEqual(['done', 'done', 'none']);
    const gone = [...before].filter((key) => !bucket.objects.has(key));
    expect(gone.sort()).toEqual([late, stray, again].sort());
    expect(headOf(bucket)).toMatchObject({ state: 'released', condemned: [] });
    expect((await check(bucket)).findings).toMatchObject([{ where: 'a/notes.txt' }]);
    for (const [prefix, tags] of [
      ['a', [5, 6, 3]],
      ['b', [1, 2, 3]],
    ] as const)
      await withDisk(bucket, prefix, async (device) => {
        for (const [i, tag] of tags.entries())
          expect(sameBytes(await readAll(device, i * 8 * MIB, MIB), pattern(MIB, tag))).toBe(true);
      });
  });

  it('finishes deletions that were condemned', async () => {
    const { bucket } = await inCheckpoint();
    const key = logKey(bucket, 9, headOf(bucket).epoch - 1);
    await replace(bucket, key, Buffer.from('anything'));
    await changeHead(bucket, { condemned: [key] });
    expect((await check(bucket)).findings).toMatchObject([{ where: key, repair: 'possible' }]);
    expect((await check(bucket, 'a', { repair: true })).findings).toMatchObject([{ repair: 'done' }]);
    expect(bucket.objects.has(key)).toBe(false);
  });

  it('leaves fences, and what may be one', async () => {
    const bucket = await threeObjects();
    await changeHead(bucket, { epochs: [{ epoch: headOf(bucket).epoch }] });
    const torn = logKey(bucket, 5, headOf(bucket).epoch - 1);
    await replace(bucket, torn, Buffer.from('x'));
    await withDisk(bucket, 'a', async () => undefined);
    const before = [...bucket.objects.keys()];
    const { findings, counts } = await check(bucket, 'a', { repair: true });
    expect(findings).toMatchObject([
      { where: torn, repair: 'none', what: expect.stringContaining('a fence') },
    ]);
    expect(counts['fences']).toBe(16);
    expect([...bucket.objects.keys()]).toEqual(before);
  });

  it('judges what a gateway that died had on its way once the volume is taken', async () => {
    const bucket = await threeObjects();
    const { epoch } = headOf(bucket);
    const late = logKey(bucket, 5);
    await replace(bucket, late, bodyOf(bucket, logKey(bucket, 3)));
    const gone = { ...ownIdentity(), startTime: '1' };
    const writer = { disk: 'disk0', since: '', process: gone };
    await changeHead(bucket, { state: 'owned', writer, epochs: [{ epoch }] });
    const found = await check(bucket);
    expect(found.findings).toEqual([]);
    expect(found.counts).toMatchObject({ 'objects on their way': 1, 'objects replayed': 3 });
    expect((await check(bucket, 'a', { repair: true })).findings).toMatchObject([
      { where: late, repair: 'done' },
    ]);
    expect(bucket.objects.has(late)).toBe(false);
    expect(headOf(bucket)).toMatchObject({ state: 'released', epochs: [{ epoch, end: 3 }] });
    expect((await check(bucket)).findings).toEqual([]);
  });

  it('is refused while somebody has the volume open, and the check is not', async () => {
    const bucket = await threeObjects();
    await replace(bucket, logKey(bucket, 9, headOf(bucket).epoch - 1), bodyOf(bucket, logKey(bucket, 1)));
    await withDisk(bucket, 'a', async (device) => {
      await device.write!(0, [pattern(MIB, 4)], 0);
      await device.flush!(0);
      expect(errorsOf(await check(bucket))).toEqual([]);
      await expect(check(bucket, 'a', { repair: true })).rejects.toMatchObject({ code: 'volume.owned' });
    });
  });
});

describe('the check of a volume in use', () => {
  it('takes nothing for damage that its writer deletes, at whichever request, and says that it has changed', async () => {
    let changed = 0;
    for (let at = 1; ; at++) {
      const { bucket } = await inCheckpoint();
      const store = new FakeStore(bucket);
      let isDone = false;
      store.gate = async () => {
        if (store.requests.length !== at) return;
        isDone = true;
        await write(bucket, 'a', [0, 4], [8 * MIB, 5], [16 * MIB, 6]);
        await on(bucket, 'a', (operation) => deleteSnapshot(operation, 'kept'));
      };
      const checked = await withStore(store, settings('a'), context(), (operation) =>
        checkVolume(operation, { data: true, repair: false, progress: () => undefined }),
      );
      if (!isDone) break;
      expect(errorsOf(checked), `request ${at}`).toEqual([]);
      if (checked.findings.some(({ what }) => what.includes('has changed since'))) changed++;
    }
    expect(changed).toBeGreaterThan(0);
  });
});
