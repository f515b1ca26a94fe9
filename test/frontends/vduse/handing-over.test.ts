import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { NAME, Rig, turns } from './rig.ts';

describe('a disk that is released', () => {
  it('stays attached, with its link, and a successor serves what waited meanwhile', async () => {
    await using rig = new Rig();
    const first = await rig.attach();
    await rig.driver.write(0, new Uint8Array(512).fill(1));
    await first.quiesce();
    const waiting = [rig.driver.read(0, 512), rig.driver.write(1, new Uint8Array(512).fill(2))];
    await first.release!();
    rig.forget();
    expect(rig.device.attached).toBe(true);
    expect(rig.device.opened).toBe(false);
    expect(existsSync(first.path)).toBe(true);
    expect(rig.kernel.leaks).toEqual([]);

    const second = await rig.attach();
    expect(await waiting[0]).toMatchObject({ status: 0, data: new Uint8Array(512).fill(1) });
    expect(await waiting[1]).toMatchObject({ status: 0 });
    expect(await rig.driver.read(1, 512)).toMatchObject({ data: new Uint8Array(512).fill(2) });
    expect(await first.closed).toBeUndefined();
    await second[Symbol.asyncDispose]();
    expect(rig.kernel.devices.size).toBe(0);
    expect(existsSync(first.path)).toBe(false);
  });

  it('with a request that was never answered leaves it to its successor', async () => {
    await using rig = new Rig();
    const first = await rig.attach();
    rig.store.gate = () => new Promise(() => {});
    const read = rig.driver.read(0, 512);
    await turns(() => rig.store.active === 1);
    // No quiesce: it would wait for that request. Release does, for as long as msg_timeout allows.
    void first.release!();
    await turns(() => rig.kernel.leaks.every((leak) => !leak.startsWith('watch')));
    rig.kill();
    rig.store.gate = undefined;
    await rig.attach();
    expect(await read).toMatchObject({ status: 0 });
  });

  it('stays attached when its successor cannot take it after all', async () => {
    await using rig = new Rig();
    const first = await rig.attach();
    await first.quiesce();
    await first.release!();
    rig.forget();
    rig.kernel.intercept = (call) => (call === 'ioctl 0x40088112' ? -5 : undefined);
    await expect(rig.attach()).rejects.toThrow();
    rig.kernel.intercept = () => undefined;
    expect(rig.device.attached).toBe(true);
    await rig.attach();
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });
});

describe('a disk that grows', () => {
  const capacity = (rig: Rig) => new DataView(rig.device.configSpace.buffer).getBigUint64(0, true);

  it('tells its driver in one piece, and a later process', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    const calls: string[] = [];
    rig.kernel.intercept = (call) => void calls.push(call);
    await handle.resize!(2 ** 21);
    expect(capacity(rig)).toBe(4096n);
    expect(calls).toEqual(['ioctl 0x40088112', 'ioctl 0x8113']);
    await turns(() => rig.device.configInterrupts === 1);
    rig.kernel.intercept = () => undefined;
    rig.kill();
    rig.store.info = { ...rig.store.info, size: 2 ** 21 };
    await rig.attach();
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });

  it('goes on telling it while the kernel takes no interrupts', async () => {
    await using rig = new Rig();
    const handle = await rig.attach();
    let refusals = 3;
    rig.kernel.intercept = (call) => (call === 'ioctl 0x8113' && refusals-- > 0 ? -22 : undefined);
    await handle.resize!(2 ** 21);
    while (rig.device.configInterrupts === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  });

  it('between two processes is told to the driver by the second', async () => {
    await using rig = new Rig();
    await rig.attach();
    rig.kill();
    rig.store.info = { ...rig.store.info, size: 2 ** 21 };
    await rig.attach();
    expect(capacity(rig)).toBe(4096n);
    expect(rig.device.configInterrupts).toBe(1);
  });

  it('does not shrink between two processes', async () => {
    await using rig = new Rig();
    await rig.attach();
    rig.kill();
    rig.store.info = { ...rig.store.info, size: 2 ** 19 };
    await expect(rig.attach()).rejects.toMatchObject({
      code: 'vduse.device-differs',
      why: expect.stringContaining('size: 1048576 bytes, now 524288'),
    });
  });
});

describe('a device whose store has something else in it by now', () => {
  it('is not served with that, and with what it was made of it is', async () => {
    await using rig = new Rig();
    const { info } = rig.store;
    rig.store.info = { ...info, content: 'image A' };
    await rig.attach();
    rig.kill();
    rig.store.info = { ...info, content: 'image B' };
    await expect(rig.attach()).rejects.toMatchObject({
      code: 'vduse.device-differs',
      why: expect.stringContaining('what is in the store: image A, now image B'),
    });
    rig.store.info = { ...info, content: 'image A' };
    await rig.attach();
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });
});

describe('a device whose disk was made read-only', () => {
  it('is refused while it is attached, in the words of the configuration', async () => {
    await using rig = new Rig();
    await rig.attach();
    rig.kill();
    await expect(rig.attach(undefined, { readOnly: true })).rejects.toMatchObject({
      code: 'vduse.device-differs',
      why: expect.stringContaining('readOnly: false, now true'),
      fix: expect.stringContaining('blockgate destroy disk0'),
    });
  });

  it('is made anew when it is not', async () => {
    await using rig = new Rig();
    await rig.attach();
    await rig.stop();
    await rig.attach(undefined, { readOnly: true });
    expect(await rig.driver.write(0, new Uint8Array(512))).toMatchObject({ status: 1 });
  });
});

describe('status', () => {
  it('says what serves the disk and what the driver chose', async () => {
    await using rig = new Rig();
    const handle = await rig.attach({ queues: 2 });
    expect(handle.status!()).toMatchObject({
      device: NAME,
      bus: 'vdpa',
      driving: true,
      queues: 2,
      inFlight: 0,
      features: expect.arrayContaining(['VERSION_1', 'FLUSH']),
    });
    rig.store.gate = () => new Promise(() => {});
    void rig.driver.read(0, 512);
    await turns(() => handle.status!()['inFlight'] === 1);
    rig.kill();
  });
});
