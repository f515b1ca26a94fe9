import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigErrors } from '../../../core/config/config-errors.ts';
import { type GatewayEvent, runGateway } from '../../../core/index.ts';
import { Rig } from './rig.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await Rig.make({ disk0: { held: 'held' }, disk1: {} });
});
afterEach(() => rig[Symbol.asyncDispose]());

const options = () => ({ inProcess: true, stateDir: rig.path('state'), graceMs: 1000 });

describe('an embedded gateway', () => {
  it('returns once every disk can be used, and stops them when disposed of', async () => {
    const events: string[] = [];
    const onEvent = ({ type, disk }: GatewayEvent) => events.push(`${type} ${disk}`);
    {
      await using gateway = await runGateway(rig.configFile, { ...options(), onEvent });
      expect(gateway.disks.map(({ path }) => path)).toEqual(['/dev/fake/disk0', '/dev/fake/disk1']);
    }
    expect(await rig.journal()).toEqual(expect.arrayContaining(['disk0 detach', 'disk1 detach']));
    expect(events).toEqual(
      expect.arrayContaining(['ready disk0', 'stopped disk0', 'ready disk1', 'stopped disk1']),
    );
  });

  it('starts the disks that are named, with values of its own', async () => {
    const overrides = ['disks.disk1.backend.size=8MiB'];
    await using gateway = await runGateway(rig.configFile, { ...options(), disks: ['disk1'], overrides });
    expect(gateway.disks).toMatchObject([{ name: 'disk1', size: 8 << 20 }]);
  });

  it('says who uses a disk and refuses to take it away', async () => {
    await using gateway = await runGateway(rig.configFile, options());
    await writeFile(rig.path('held'), 'mounted at /srv');
    const holder = { kind: 'mount', description: 'mounted at /srv' };
    expect(await gateway.holders()).toEqual(new Map([['disk0', [holder]]]));
    await expect(gateway.stop()).rejects.toMatchObject({ code: 'disk.held' });
  });

  it('starts nothing when any disk has a mistake', async () => {
    const overrides = ['disks.disk1.backend.size=tiny'];
    await expect(runGateway(rig.configFile, { ...options(), overrides })).rejects.toBeInstanceOf(
      ConfigErrors,
    );
    expect(await rig.journal()).toEqual([]);
  });

  it('refuses a disk that is not configured', async () => {
    await expect(runGateway(rig.configFile, { ...options(), disks: ['disk7'] })).rejects.toMatchObject({
      code: 'config.unknown-disk',
    });
  });
});
