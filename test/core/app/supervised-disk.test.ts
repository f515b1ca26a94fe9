import { describe, expect, it } from 'vitest';
import type { DiskOrder } from '../../../core/app/disk-order.ts';
import type { GatewayEvent } from '../../../core/app/gateway-events.ts';
import type { RestartPolicy } from '../../../core/app/restart-policy.ts';
import type { DiskDetails, DiskLauncher, RunningDisk } from '../../../core/app/running-disk.ts';
import { SupervisedDisk } from '../../../core/app/supervised-disk.ts';

const order = (config: object = {}, standby = false): DiskOrder =>
  ({ disk: { name: 'disk0', standby, backend: { type: 'fake', config } } }) as unknown as DiskOrder;

interface Rig {
  readonly disk: SupervisedDisk;
  readonly events: GatewayEvent[];
  /** What the launcher and its disks were asked to do. */
  readonly calls: string[];
  readonly orders: DiskOrder[];
  readonly lives: PromiseWithResolvers<Error | undefined>[];
  /** Fails the call of this name. */
  fail: Record<string, Error>;
  /** The call of this name never settles. */
  hang: string;
  now: number;
  readonly counts: number[];
  start(): Promise<void>;
}

function make(options: { canHandOver?: boolean; config?: object; standby?: boolean } = {}): Rig {
  const events: GatewayEvent[] = [];
  const calls: string[] = [];
  const orders: DiskOrder[] = [];
  const lives: PromiseWithResolvers<Error | undefined>[] = [];
  const counts: number[] = [];
  const step = async (name: string) => {
    calls.push(name);
    const error = rig.fail[name];
    if (error) throw error;
    if (rig.hang === name) await new Promise(() => {});
  };
  const launch = async (): Promise<RunningDisk> => {
    const number = lives.length;
    const life = Promise.withResolvers<Error | undefined>();
    lives.push(life);
    return {
      details: { name: 'disk0', path: '/dev/fake', stack: [], caps: {} } as unknown as DiskDetails,
      holders: async () => [],
      report: async () => ({ pid: number, canHandOver: options.canHandOver ?? true }) as never,
      flush: () => step('flush'),
      resize: async (size = 4096) => size,
      snapshot: async (name) => ({ name, size: 4096, createdAt: '' }),
      stop: async () => life.resolve(undefined),
      handOver: () => step(`hand over ${number}`).finally(() => life.resolve(undefined)),
      ended: life.promise,
    };
  };
  const launcher: DiskLauncher = {
    launch: async (which) => {
      orders.push(which);
      await step('launch');
      return await launch();
    },
    prepare: async (which) => {
      orders.push(which);
      await step('prepare');
      return {
        start: async () => {
          await step('start');
          rig.now += 30;
          return await launch();
        },
        [Symbol.asyncDispose]: async () => void calls.push('dispose'),
      };
    },
  };
  const policy: RestartPolicy = {
    delayAfter: ({ count }) => {
      counts.push(count);
      return 0;
    },
  };
  const disk = new SupervisedDisk(order(options.config, options.standby), {
    launcher,
    policy,
    emit: (event) => events.push(event),
    now: () => rig.now,
  });
  const start = () => disk.start({ takeOver: false, signal: new AbortController().signal });
  const rig: Rig = { disk, events, calls, orders, lives, counts, fail: {}, hang: '', now: 0, start };
  return rig;
}

const kinds = (rig: Rig) => rig.events.map(({ type }) => type);
const until = async (isSo: () => boolean | Promise<boolean>) => {
  while (!(await isSo())) await new Promise(setImmediate);
};

describe('deaths', () => {
  it('count as the first again after five seconds of running well', async () => {
    const rig = make();
    await rig.start();
    for (const ranMs of [1, 4_999, 5_000, 5]) {
      const { length } = rig.lives;
      rig.now += ranMs;
      rig.lives.at(-1)!.resolve(new Error('boom'));
      await until(() => rig.lives.length > length);
    }
    await rig.disk.stop();
    expect(rig.counts).toEqual([1, 2, 1, 2]);
    expect(await rig.disk.status()).toMatchObject({
      state: 'stopped',
      restarts: 4,
      lastError: { message: 'boom' },
    });
  });
});

describe('an upgrade', () => {
  it('prepares first, flushes, hands over, starts, and says how long I/O was paused', async () => {
    const rig = make();
    await rig.start();
    expect(await rig.disk.upgrade()).toBe(30);
    expect(rig.calls).toEqual(['launch', 'prepare', 'flush', 'hand over 0', 'start', 'dispose']);
    expect(kinds(rig)).toEqual(['ready', 'upgrading', 'upgraded']);
    expect(await rig.disk.status()).toMatchObject({ state: 'running', restarts: 0, report: { pid: 1 } });
  });

  it('leaves a disk that is supervised as before', async () => {
    const rig = make();
    await rig.start();
    await rig.disk.upgrade();
    rig.lives[1]!.resolve(new Error('boom'));
    await until(() => rig.lives.length === 3);
    await rig.disk.stop();
    expect(kinds(rig).slice(3)).toEqual(['died', 'restarting', 'ready', 'stopping', 'stopped']);
  });

  it.each(['prepare', 'flush'])('that fails at %s changes nothing', async (call) => {
    const rig = make();
    await rig.start();
    rig.fail = { [call]: new Error('no') };
    await expect(rig.disk.upgrade()).rejects.toThrow('no');
    expect(await rig.disk.status()).toMatchObject({ state: 'running', report: { pid: 0 } });
    expect(rig.calls).not.toContain('hand over 0');
    rig.fail = {};
    await rig.disk.upgrade();
  });

  it('whose new process cannot serve the disk is followed by a restart', async () => {
    const rig = make();
    await rig.start();
    rig.fail = { start: new Error('cannot open') };
    await expect(rig.disk.upgrade()).rejects.toThrow('cannot open');
    await until(() => rig.lives.length === 2);
    expect(kinds(rig)).toEqual(['ready', 'upgrading', 'died', 'restarting', 'ready']);
    await rig.disk.stop();
  });

  it('goes on when the old process did not end cleanly', async () => {
    const rig = make();
    await rig.start();
    rig.fail = { 'hand over 0': new Error('killed') };
    await rig.disk.upgrade();
    expect(kinds(rig)).toEqual(['ready', 'upgrading', 'failed', 'upgraded']);
  });

  it('is refused where the disk cannot be handed over', async () => {
    const rig = make({ canHandOver: false });
    await rig.start();
    await expect(rig.disk.upgrade()).rejects.toMatchObject({ code: 'disk.cannot-upgrade' });
    expect(rig.calls).toEqual(['launch']);
  });

  it('is one operation at a time, which a stop waits for', async () => {
    const rig = make();
    await rig.start();
    const upgrade = rig.disk.upgrade();
    await expect(rig.disk.resize()).rejects.toMatchObject({ code: 'disk.operation-under-way' });
    const stop = rig.disk.stop();
    await upgrade.catch(() => {});
    await stop;
    expect(rig.events.at(-1)).toMatchObject({ type: 'stopped' });
    expect(await rig.disk.status()).toMatchObject({ state: 'stopped' });
  });

  it('whose store takes no flush does not keep the disk from being stopped', async () => {
    const rig = make();
    await rig.start();
    rig.hang = 'flush';
    const upgrade = rig.disk.upgrade();
    upgrade.catch(() => {});
    await until(() => rig.calls.includes('flush'));
    await rig.disk.stop();
    expect(rig.events.at(-1)).toMatchObject({ type: 'stopped' });
    expect(rig.calls).not.toContain('hand over 0');
  });

  it('that ends without anybody to serve the disk is what a stop reports', async () => {
    const rig = make();
    await rig.start();
    rig.fail = { start: new Error('cannot open'), launch: new Error('nor now') };
    const upgrade = rig.disk.upgrade().catch(() => {});
    await until(() => rig.calls.includes('hand over 0'));
    const stop = rig.disk.stop();
    await upgrade;
    await expect(stop).rejects.toMatchObject({ code: 'disk.left-behind' });
  });
});

describe('a disk with a standby', () => {
  const ready = (rig: Rig) => until(async () => (await rig.disk.status()).standby === 'ready');
  const die = async (rig: Rig) => {
    const { length } = rig.lives;
    rig.lives.at(-1)!.resolve(new Error('boom'));
    await until(async () => rig.lives.length > length && (await rig.disk.status()).state === 'running');
  };

  it('goes on with it, and has another one prepared', async () => {
    const rig = make({ standby: true });
    await rig.start();
    await ready(rig);
    await die(rig);
    await ready(rig);
    expect(rig.calls).toEqual(['launch', 'prepare', 'start', 'prepare']);
    expect(await rig.disk.status()).toMatchObject({ restarts: 1, standby: 'ready' });
    await rig.disk.stop();
    expect(rig.calls.slice(4)).toEqual(['dispose']);
    expect(await rig.disk.status()).not.toHaveProperty('standby');
  });

  it('that could not be prepared runs all the same', async () => {
    const rig = make({ standby: true });
    rig.fail = { prepare: new Error('no memory') };
    await rig.start();
    await until(async () => (await rig.disk.status()).standby === 'failed');
    await die(rig);
    expect(rig.calls).toEqual(['launch', 'prepare', 'launch']);
    await rig.disk.stop();
  });

  it('that died as well is started from nothing', async () => {
    const rig = make({ standby: true });
    await rig.start();
    await ready(rig);
    rig.fail = { start: new Error('gone') };
    await die(rig);
    expect(rig.calls.filter((call) => call === 'launch')).toHaveLength(2);
    expect(kinds(rig).slice(0, 7)).toEqual([
      'ready',
      'standing-by',
      'died',
      'restarting',
      'failed',
      'restarting',
      'ready',
    ]);
    await rig.disk.stop();
  });

  it('renews it when the disk has changed', async () => {
    const rig = make({ standby: true, config: { size: 4096 } });
    await rig.start();
    await ready(rig);
    await rig.disk.resize(8192);
    await ready(rig);
    expect(rig.calls).toEqual(['launch', 'prepare', 'dispose', 'prepare']);
    expect(rig.orders.at(-1)!.disk.backend.config).toEqual({ size: 8192 });
    await rig.disk.upgrade();
    await ready(rig);
    expect(rig.calls.filter((call) => call === 'dispose')).toHaveLength(3);
    await rig.disk.stop();
  });

  it('lets go of one that is being prepared when it is stopped', async () => {
    const rig = make({ standby: true });
    await rig.start();
    await rig.disk.stop();
    expect(rig.calls.filter((call) => call === 'dispose')).toHaveLength(
      rig.calls.filter((call) => call === 'prepare').length,
    );
  });
});

describe('a disk that has grown', () => {
  it('is started again with its new size where the configuration names one', async () => {
    const rig = make({ config: { size: '1MiB', path: 'x' } });
    await rig.start();
    expect(await rig.disk.resize(8192)).toBe(8192);
    expect(rig.events.at(-1)).toMatchObject({ type: 'resized', size: 8192 });
    await rig.disk.upgrade();
    expect(rig.orders.at(-1)!.disk.backend.config).toEqual({ size: 8192, path: 'x' });
  });

  it('is refused while it does not run', async () => {
    const rig = make();
    await rig.start();
    await rig.disk.stop();
    await expect(rig.disk.resize()).rejects.toMatchObject({ code: 'disk.not-running' });
  });
});
