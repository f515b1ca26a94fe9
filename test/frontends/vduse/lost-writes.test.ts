import { describe, expect, it } from 'vitest';
import { Rig } from './rig.ts';

const OK = 0;
const IOERR = 1;
const rig = () => new Rig({ info: { caps: { concurrency: 'parallel', writeCache: 'process' } } });
const sector = new Uint8Array(512).fill(7);

describe('a volume that keeps answered writes in its process', () => {
  it('fails every request when that process was killed with some, until the driver starts anew', async () => {
    await using disk = rig();
    await disk.attach();
    expect(await disk.driver.write(1, sector)).toMatchObject({ status: OK });
    disk.kill();
    const handle = await disk.attach();
    expect(disk.messages('error').join()).toContain('were lost');
    expect(handle.status!()['failing']).toContain('writes were lost');
    for (const request of [() => disk.driver.read(1, 512), () => disk.driver.write(1, sector)])
      expect(await request()).toMatchObject({ status: IOERR });
    // Nor does a third process take it for whole.
    disk.kill();
    await disk.attach();
    expect(await disk.driver.read(1, 512)).toMatchObject({ status: IOERR });
    await disk.stop();
    const anew = await disk.attach();
    expect(anew.status!()).not.toHaveProperty('failing');
    expect(await disk.driver.write(1, sector)).toMatchObject({ status: OK });
    expect(await disk.driver.read(1, 512)).toMatchObject({ status: OK, data: sector });
  });

  it('goes on when they had been flushed', async () => {
    await using disk = rig();
    await disk.attach();
    await disk.driver.write(1, sector);
    expect(await disk.driver.submit(disk.driver.blk.flush())).toMatchObject({ status: OK });
    disk.kill();
    await disk.attach();
    expect(await disk.driver.read(1, 512)).toMatchObject({ status: OK, data: sector });
  });

  it('is flushed before another process is left to serve it', async () => {
    await using disk = rig();
    const first = await disk.attach();
    await disk.driver.write(1, sector);
    await first.quiesce();
    await first.release!();
    disk.forget();
    expect(disk.store.calls.at(-1)).toMatchObject({ op: 'flush' });
    await disk.attach();
    expect(await disk.driver.read(1, 512)).toMatchObject({ status: OK, data: sector });
  });

  it('that took no flush then is not taken for whole', async () => {
    await using disk = rig();
    const first = await disk.attach();
    await disk.driver.write(1, sector);
    await first.quiesce();
    disk.store.gate = ({ op }) => {
      if (op === 'flush') throw new Error('the store is gone');
    };
    await first.release!();
    disk.forget();
    disk.store.gate = undefined;
    await disk.attach();
    expect(await disk.driver.read(1, 512)).toMatchObject({ status: IOERR });
  });
});
