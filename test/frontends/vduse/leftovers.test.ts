import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { inFlightPath } from '../../../frontends/vduse/host-paths.ts';
import { findLeftovers } from '../../../frontends/vduse/leftovers.ts';
import { NAME, Rig, turns } from './rig.ts';

/** A rig whose disk was left attached by a process that was killed. */
async function orphan(rig: Rig) {
  const { path } = await rig.attach();
  rig.kill();
  const [leftover] = findLeftovers(rig.kernel);
  return { path, leftover: leftover!, ctx: { stateDir: rig.folder, logger: rig.logger } };
}

describe('a device that nobody serves', () => {
  it('is found, and destroyed with what belongs to it', async () => {
    await using rig = new Rig();
    const { path, leftover, ctx } = await orphan(rig);
    expect(leftover).toMatchObject({ disk: 'disk0', device: NAME });
    expect(await leftover.holders()).toEqual([]);
    await leftover.destroy(ctx);
    expect(rig.kernel.devices.size).toBe(0);
    expect(existsSync(path)).toBe(false);
    expect(readdirSync(rig.folder)).not.toContain('vduse.json');
    expect(findLeftovers(rig.kernel)).toEqual([]);
  });

  it('is not one that a process has open', async () => {
    await using rig = new Rig();
    await rig.attach();
    const fds = join(rig.kernel.paths.proc, '7/fd');
    mkdirSync(fds, { recursive: true });
    symlinkSync(join(rig.kernel.paths.dev, 'vduse', NAME), join(fds, '3'));
    expect(findLeftovers(rig.kernel)).toEqual([]);
  });

  it('is not destroyed when a process has opened it meanwhile', async () => {
    await using rig = new Rig();
    const { leftover, ctx } = await orphan(rig);
    await rig.attach();
    await expect(leftover.destroy(ctx)).rejects.toMatchObject({ code: 'vduse.device-busy' });
    expect(await rig.driver.read(0, 512)).toMatchObject({ status: 0 });
  });

  /** Dies with a request in flight. */
  async function die(rig: Rig): Promise<{ read: Promise<unknown> }> {
    await rig.attach();
    rig.store.gate = () => new Promise(() => {});
    const read = rig.driver.read(0, 512);
    await turns(() => rig.store.active === 1);
    rig.kill();
    return { read };
  }

  it('is destroyed with requests of the dead process in flight: they fail', async () => {
    await using rig = new Rig();
    const { read } = await die(rig);
    await findLeftovers(rig.kernel)[0]!.destroy({ stateDir: rig.folder, logger: rig.logger });
    expect(await read).toMatchObject({ status: 1 });
    expect(rig.kernel.devices.size).toBe(0);
  });

  it('is kept when nobody knows which requests wait: detaching would block the kernel', async () => {
    await using rig = new Rig();
    await die(rig);
    rmSync(inFlightPath(rig.kernel.paths, NAME));
    const [leftover] = findLeftovers(rig.kernel);
    await expect(leftover!.destroy({ stateDir: rig.folder, logger: rig.logger })).rejects.toMatchObject({
      code: 'vduse.leftover-waits',
      fix: expect.stringContaining('blockgate run disk0'),
    });
    expect(rig.device.attached).toBe(true);
  });

  it('is destroyed also when the kernel has given it up', async () => {
    await using rig = new Rig();
    const { leftover, ctx } = await orphan(rig);
    rig.device.break();
    await leftover.destroy(ctx);
    expect(rig.kernel.devices.size).toBe(0);
  });
});
