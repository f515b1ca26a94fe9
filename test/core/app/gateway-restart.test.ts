import { describe, expect, it } from 'vitest';
import type { DiskOrder } from '../../../core/app/disk-order.ts';
import { Gateway } from '../../../core/app/gateway.ts';
import type { GatewayEvent } from '../../../core/app/gateway-events.ts';
import { GracefulStop } from '../../../core/app/graceful-stop.ts';
import type { RestartPolicy } from '../../../core/app/restart-policy.ts';
import type { DiskDetails, DiskLauncher, RunningDisk } from '../../../core/app/running-disk.ts';
import type { Holder } from '../../../core/plugin.ts';

const ORDER = { disk: { name: 'disk0' } } as unknown as DiskOrder;

const neverRestart: RestartPolicy = { delayAfter: () => undefined };

/** Launches disks that live until they are told to die. */
class FakeLauncher implements DiskLauncher {
  readonly lives: PromiseWithResolvers<Error | undefined>[] = [];
  holders: Holder[] = [];
  launchError: Error | undefined;

  async launch(order: DiskOrder): Promise<RunningDisk> {
    if (this.launchError) throw this.launchError;
    const life = Promise.withResolvers<Error | undefined>();
    this.lives.push(life);
    return {
      details: { name: order.disk.name, caps: {} } as DiskDetails,
      holders: async () => this.holders,
      stop: async () => life.resolve(undefined),
      ended: life.promise,
      report: () => Promise.reject(new Error('not asked here')),
      flush: async () => {},
      resize: async (size = 0) => size,
      snapshot: async (name) => ({ name, size: 4096, createdAt: '' }),
      handOver: async () => life.resolve(undefined),
    };
  }
}

function make(policy: RestartPolicy) {
  const launcher = new FakeLauncher();
  const gateway = new Gateway(launcher, policy);
  const events: string[] = [];
  gateway.observe((event: GatewayEvent) => events.push(event.type));
  return { launcher, gateway, events };
}

describe('a disk that dies', () => {
  it('stays dead when the policy says so, and the gateway has failed', async () => {
    const { launcher, gateway, events } = make(neverRestart);
    await gateway.start([ORDER]);
    launcher.lives[0]!.resolve(new Error('boom'));
    await gateway.ended();
    expect(events).toEqual(['ready', 'died', 'given-up']);
    expect(gateway.failed).toBe(true);
  });

  it('is started again as often as the policy wants, which hears how often it died', async () => {
    const counts: number[] = [];
    const { launcher, gateway, events } = make({
      delayAfter: ({ count }) => {
        counts.push(count);
        return count < 3 ? 0 : undefined;
      },
    });
    await gateway.start([ORDER]);
    for (let life = 0; life < 3; life++) {
      while (launcher.lives.length <= life) await new Promise(setImmediate);
      launcher.lives[life]!.resolve(new Error('boom'));
    }
    await gateway.ended();
    expect(counts).toEqual([1, 2, 3]);
    expect(events).toEqual([
      'ready',
      ...['died', 'restarting', 'ready'],
      ...['died', 'restarting', 'ready'],
      ...['died', 'given-up'],
    ]);
  });

  it('is not started again once the gateway stops', async () => {
    const { launcher, gateway, events } = make({ delayAfter: () => 3_600_000 });
    await gateway.start([ORDER]);
    launcher.lives[0]!.resolve(new Error('boom'));
    while (!events.includes('restarting')) await new Promise(setImmediate);
    // Its device is still there: whoever uses it has to be told.
    await expect(gateway.stop()).rejects.toMatchObject({ code: 'disk.left-behind' });
    expect(launcher.lives).toHaveLength(1);
    expect(events).toEqual(['ready', 'died', 'restarting', 'stop-failed']);
    expect(gateway.failed).toBe(true);
  });

  it('is tried again when it cannot start again, and the gateway has not failed once it does', async () => {
    const counts: number[] = [];
    const { launcher, gateway, events } = make({
      delayAfter: ({ count }) => {
        counts.push(count);
        if (count === 3) launcher.launchError = undefined;
        return 0;
      },
    });
    await gateway.start([ORDER]);
    launcher.launchError = new Error('not yet');
    launcher.lives[0]!.resolve(new Error('boom'));
    while (launcher.lives.length < 2) await new Promise(setImmediate);
    await gateway.stop();
    expect(counts).toEqual([1, 2, 3]);
    expect(events).toEqual([
      'ready',
      'died',
      ...['restarting', 'failed', 'restarting', 'failed', 'restarting', 'ready'],
      ...['stopping', 'stopped'],
    ]);
    expect(gateway.failed).toBe(false);
  });
});

describe('a request to stop', () => {
  const mount: Holder = { kind: 'mount', description: 'mounted at /srv' };

  async function running(now: () => number) {
    const { launcher, gateway } = make(neverRestart);
    await gateway.start([ORDER]);
    const refusals: string[] = [];
    return {
      launcher,
      refusals,
      stop: new GracefulStop(gateway, (error) => refusals.push(error.message), now),
    };
  }

  it('is refused while somebody uses a disk, and granted when it is repeated soon', async () => {
    let now = 0;
    const { launcher, refusals, stop } = await running(() => now);
    launcher.holders = [mount];
    expect(await stop.request()).toBe(false);
    expect(refusals).toEqual(['A disk is in use: "disk0" is mounted at /srv.']);
    now = 9_999;
    expect(await stop.request()).toBe(true);
  });

  it('is refused anew when it is repeated late', async () => {
    let now = 0;
    const { launcher, refusals, stop } = await running(() => now);
    launcher.holders = [mount];
    await stop.request();
    now = 10_000;
    expect(await stop.request()).toBe(false);
    expect(refusals).toHaveLength(2);
  });

  it('is granted at once when nobody uses a disk, or by force', async () => {
    const free = await running(() => 0);
    expect(await free.stop.request()).toBe(true);
    const used = await running(() => 0);
    used.launcher.holders = [mount];
    expect(await used.stop.request({ force: true })).toBe(true);
    expect(used.refusals).toEqual([]);
  });

  it('waits for a program that only glances at the disk', async () => {
    const { launcher, refusals, stop } = await running(() => 0);
    launcher.holders = [{ kind: 'process', description: 'opened by pid 7 (udevd)' }];
    setTimeout(() => {
      launcher.holders = [];
    }, 20);
    expect(await stop.request()).toBe(true);
    expect(refusals).toEqual([]);
  });
});
