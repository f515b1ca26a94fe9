import { writeFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { compose } from '../../../core/app/container.ts';
import { orderFor } from '../../../core/app/disk-order.ts';
import type { Gateway } from '../../../core/app/gateway.ts';
import type { GatewayEvent } from '../../../core/app/gateway-events.ts';
import type { Settings } from '../../../core/app/settings.ts';
import { eventually, isAlive, Rig, type RigDisk } from './rig.ts';

let owned = new AsyncDisposableStack();
afterEach(async () => {
  await owned.disposeAsync();
  owned = new AsyncDisposableStack();
});

interface Started {
  readonly rig: Rig;
  readonly gateway: Gateway;
  readonly events: GatewayEvent[];
  start(options?: Parameters<Gateway['start']>[1]): Promise<void>;
}

async function make(disks: Record<string, RigDisk>, settings: Partial<Settings> = {}): Promise<Started> {
  const rig = owned.use(await Rig.make(disks));
  const { config, gateway } = await compose(rig.settings(settings));
  owned.use(gateway);
  const events: GatewayEvent[] = [];
  gateway.observe((event) => events.push(event));
  const orders = [...config.disks.values()].map((disk) => orderFor(config, disk));
  return { rig, gateway, events, start: (options) => gateway.start(orders, options) };
}

const kinds = (events: readonly GatewayEvent[]) => events.map(({ type, disk }) => `${type} ${disk}`);

describe.each([{ inProcess: false }, { inProcess: true }])('a gateway with inProcess $inProcess', (where) => {
  it('starts a disk, says where it is, and stops it', async () => {
    const { rig, gateway, events, start } = await make({ disk0: { size: '4MiB' } }, where);
    await start();
    expect(gateway.disks).toMatchObject([
      { name: 'disk0', path: '/dev/fake/disk0', size: 4 << 20, caps: { write: true, volatile: true } },
    ]);
    expect((await rig.pidOf('disk0')) === process.pid).toBe(where.inProcess);
    await gateway.stop();
    expect(await rig.journal()).toEqual(['disk0 attach', 'disk0 quiesce', 'disk0 detach']);
    expect(kinds(events)).toEqual(['ready disk0', 'stopping disk0', 'stopped disk0']);
    expect(gateway.failed).toBe(false);
  });

  it('refuses to stop a disk that is used, says by whom, and stops it when forced', async () => {
    const { rig, gateway, start } = await make({ disk0: { held: 'held' }, disk1: {} }, where);
    await writeFile(rig.path('held'), 'mounted at /srv');
    await start();
    await expect(gateway.stop()).rejects.toMatchObject({
      code: 'disk.held',
      message: 'A disk is in use: "disk0" is mounted at /srv.',
    });
    expect(await rig.journal()).not.toContain('disk1 quiesce');
    await gateway.stop({ force: true });
    expect(await rig.journal()).toContain('disk0 detach');
  });

  it('stops the others when one cannot start, and keeps its explanation', async () => {
    const { rig, gateway, events, start } = await make({ disk0: {}, disk1: { failAttach: true } }, where);
    await expect(start()).rejects.toMatchObject({
      code: 'window.stuck',
      message: 'The window is stuck.',
      why: 'It was painted over.',
      fix: 'Push.',
    });
    expect(kinds(events)).toContain('failed disk1');
    expect(kinds(events)).not.toContain('failed disk0');
    expect(gateway.disks).toEqual([]);
    expect(gateway.failed).toBe(true);
    const journal = await rig.journal();
    const attached = journal.filter((line) => line === 'disk0 attach').length;
    expect(journal.filter((line) => line === 'disk0 detach')).toHaveLength(attached);
  });

  it('goes on with those that start when told to', async () => {
    const { gateway, events, start } = await make({ disk0: {}, disk1: { failAttach: true } }, where);
    await start({ keepGoing: true });
    expect(gateway.disks.map(({ name }) => name)).toEqual(['disk0']);
    expect(gateway.failed).toBe(true);
    expect(kinds(events).sort()).toEqual(['failed disk1', 'ready disk0']);
  });

  it('gives a start up when asked to', async () => {
    const { gateway, events, start } = await make({ disk0: { hangAttach: true } }, where);
    const giveUp = new AbortController();
    const started = start({ signal: giveUp.signal });
    setTimeout(() => giveUp.abort(new Error('no longer wanted')), 50);
    await expect(started).rejects.toThrow('no longer wanted');
    expect(events).toEqual([]);
    expect(gateway.disks).toEqual([]);
  });

  it('passes on what plugins log', async () => {
    const lines: string[] = [];
    const settings = { ...where, writeLog: (line: string) => lines.push(line) };
    const { start } = await make({ disk0: { log: 'the window creaks' } }, settings as Partial<Settings>);
    await start();
    expect(JSON.parse(lines[0]!)).toMatchObject({
      level: 'warn',
      msg: 'the window creaks',
      disk: 'disk0',
      attempt: 1,
      error: { message: 'inner' },
    });
  });

  it('lets a store that does not answer have the grace period and no more', async () => {
    const { rig, gateway, start } = await make({ disk0: { slowStore: true } }, { ...where, graceMs: 50 });
    await start();
    await gateway.stop();
    expect(await rig.journal()).toEqual(['disk0 attach', 'disk0 quiesce', 'disk0 detach']);
  });
});

describe('the process of a disk', () => {
  it('takes only its own disk along when it is killed', async () => {
    const { rig, gateway, events, start } = await make({ disk0: { durable: true }, disk1: {} });
    await start();
    const other = await rig.pidOf('disk1');
    process.kill(await rig.pidOf('disk0'), 'SIGKILL');
    await eventually(() => events.filter(({ type }) => type === 'ready').length === 3);
    expect(events.find(({ type }) => type === 'died')).toMatchObject({
      disk: 'disk0',
      error: {
        code: 'disk.process-died',
        message: 'The process of disk "disk0" was killed by SIGKILL.',
      },
    });
    expect(events.at(-1)).toMatchObject({ type: 'ready', disk: 'disk0', restarts: 1 });
    expect(await rig.pidOf('disk1')).toBe(other);
    expect(gateway.failed).toBe(false);
    await gateway.stop();
    expect(await rig.journal()).toEqual(expect.arrayContaining(['disk0 detach', 'disk1 detach']));
  });

  it('is not impressed by the signals of a terminal', async () => {
    const { rig, gateway, start } = await make({ disk0: {} });
    await start();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.kill(await rig.pidOf('disk0'), signal);
    expect(await gateway.holders()).toEqual(new Map());
    expect(await rig.journal()).toEqual(['disk0 attach']);
    await gateway.stop();
  });

  it('is gone once the disk has stopped', async () => {
    const { rig, gateway, start } = await make({ disk0: {} });
    await start();
    const pid = await rig.pidOf('disk0');
    await gateway.stop();
    expect(isAlive(pid)).toBe(false);
  });
});
