import { describe, expect, it } from 'vitest';
import { cloneVolume } from '../../../../backends/s3/log/volume/snapshot-operations.ts';
import { MIB } from '../harness.ts';
import {
  bodyOf,
  changeHead,
  check,
  errorsOf,
  inCheckpoint,
  on,
  replace,
  settings,
  write,
} from './check-world.ts';

describe('the check of relatives', () => {
  async function withClone() {
    const { bucket, keys } = await inCheckpoint();
    await on(bucket, 'a', (operation) => cloneVolume(operation, 'kept', settings('b')));
    await write(bucket, 'b', [4 * MIB, 8]);
    const ref = [...bucket.objects.keys()].find((key) => key.startsWith('a/refs/'))!;
    return { bucket, keys, ref };
  }

  it('finds nothing wrong with a clone and its parent', async () => {
    const { bucket } = await withClone();
    expect((await check(bucket)).findings).toEqual([]);
    expect((await check(bucket, 'b')).findings).toEqual([]);
  });

  it('finds what a clone lacks of its parent', async () => {
    const { bucket, keys, ref } = await withClone();
    bucket.objects.delete(keys[1]);
    bucket.objects.delete(ref);
    expect((await check(bucket, 'b')).findings).toMatchObject([
      { where: keys[1], what: 'it is missing', affected: [{ offset: 8 * MIB, length: MIB }] },
      { where: ref, what: expect.stringContaining('its claim') },
    ]);
  });

  it('finds that a snapshot which a clone needs is gone, on both sides', async () => {
    const { bucket, ref } = await withClone();
    await changeHead(bucket, { snapshots: [] });
    const found = await check(bucket, 'a', { repair: true });
    expect(errorsOf(found)).toEqual([
      expect.stringContaining(`${ref}: the clone at "b" needs the snapshot "kept"`),
    ]);
    expect(errorsOf(await check(bucket, 'b'))).toEqual([
      expect.stringContaining('no snapshot "kept" any more'),
    ]);
  });

  it('tells the claim of a clone that is not there, and one that says nothing', async () => {
    const { bucket, ref } = await withClone();
    await replace(bucket, `${ref.slice(0, -1)}x`, bodyOf(bucket, ref));
    await replace(bucket, 'a/refs/y', Buffer.from('{'));
    const { findings } = await check(bucket);
    expect(findings).toMatchObject([
      { severity: 'error', where: 'a/refs/y' },
      { severity: 'warning', where: `${ref.slice(0, -1)}x` },
    ]);
  });
});
