import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PluginContext } from '../../../core/api/backend.ts';
import { GatewayError } from '../../../core/api/errors.ts';
import { type RunDiskOptions, runDisk } from '../../../core/app/disk-runner.ts';
import { formatStack } from '../../../core/app/disk-stack.ts';
import { type FailAt, type SpyDisk, silentLogger, spyDisk } from './fakes.ts';

let stateDir: string;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'blockgate-runner-'));
});
afterEach(() => rm(stateDir, { recursive: true }));

const run = (disk: SpyDisk['disk'], options: Partial<RunDiskOptions> = {}) =>
  runDisk(disk, {
    logger: silentLogger,
    baseDir: stateDir,
    stateDir,
    takeOver: false,
    graceMs: 1000,
    ...options,
  });

const START = ['backend.open', 'inner.wrap', 'outer.wrap', 'frontend.attach'];
const STOP = [
  'frontend.quiesce',
  'frontend.dispose',
  'backend.flush',
  'outer.dispose',
  'inner.dispose',
  'backend.dispose',
];

describe('running a disk', () => {
  it('builds from the store to the guest and stops by quiesce, detach, flush, close', async () => {
    const spy = spyDisk();
    const disk = await run(spy.disk);
    expect(spy.calls).toEqual(START);
    await disk.stop();
    expect(spy.calls.slice(START.length)).toEqual(STOP);
  });

  it('lists the stack from the guest to the store, automatic layers included', async () => {
    const disk = await run(spyDisk({ readOnly: true }).disk);
    expect(formatStack(disk.details.stack)).toBe('window > readonly > outer > inner > spy');
    expect(disk.details).toMatchObject({ path: '/dev/nowhere', size: 1 << 20, caps: { write: false } });
    await disk.stop();
  });

  it('stops once, however often it is asked to', async () => {
    const spy = spyDisk();
    const disk = await run(spy.disk);
    await Promise.all([disk.stop(), disk.stop()]);
    await disk.stop();
    expect(spy.calls).toEqual([...START, ...STOP]);
  });

  it('tells the frontend what is in the store, through every layer', async () => {
    const spy = spyDisk({ readOnly: true });
    const { plugin: backend } = spy.disk.backend;
    const { plugin: frontend } = spy.disk.frontend;
    const { open } = backend;
    backend.open = async (config, ctx) => {
      const device = await open(config, ctx);
      return Object.assign(device, { info: { ...device.info, content: 'image A' } });
    };
    const { attach } = frontend;
    let content: string | undefined;
    frontend.attach = (volume, config, ctx) => {
      content = volume.content;
      return attach(volume, config, ctx);
    };
    await (await run(spy.disk)).stop();
    expect(content).toBe('image A');
  });

  it('gives plugins a folder of their own and tells them when the grace period is over', async () => {
    const spy = spyDisk();
    let ctx: PluginContext | undefined;
    const { attach } = spy.disk.frontend.plugin;
    spy.disk.frontend.plugin.attach = async (volume, config, given) => {
      ctx = given;
      const handle = await attach(volume, config, given);
      // Requests in flight end only when the backend gives up, as with a store that does not answer.
      const quiesce = () => new Promise<void>((done) => given.signal.addEventListener('abort', () => done()));
      return Object.assign(handle, { quiesce });
    };
    const disk = await run(spy.disk, { graceMs: 1 });
    expect(await readdir(stateDir)).toEqual(['disk0']);
    await disk.stop();
    expect(ctx!.signal.reason).toMatchObject({ message: expect.stringContaining('0.001 s') });
  });
});

describe('a start that fails half-way', () => {
  const cases: { failAt: FailAt; code: string; calls: string[] }[] = [
    { failAt: 'open', code: 'disk.open-failed', calls: ['backend.open'] },
    {
      failAt: 'filter',
      code: 'disk.filter-failed',
      calls: ['backend.open', 'inner.wrap', 'outer.wrap', 'inner.dispose', 'backend.dispose'],
    },
    {
      failAt: 'attach',
      code: 'disk.attach-failed',
      calls: [...START, 'backend.flush', 'outer.dispose', 'inner.dispose', 'backend.dispose'],
    },
  ];
  it.each(cases)('at $failAt leaves nothing open and keeps the cause', async ({ failAt, code, calls }) => {
    const spy = spyDisk({ failAt });
    const error = await run(spy.disk).catch((e: unknown) => e as GatewayError);
    expect(error).toMatchObject({ code, cause: { message: expect.stringContaining('went wrong') } });
    expect(spy.calls).toEqual(calls);
  });

  it("passes a plugin's own explanation on unchanged", async () => {
    const spy = spyDisk();
    const own = new GatewayError('spy.locked', 'The store is locked.');
    spy.disk.backend.plugin.open = () => Promise.reject(own);
    await expect(run(spy.disk)).rejects.toBe(own);
  });

  it('opens nothing when it was told to give up before', async () => {
    const spy = spyDisk();
    await expect(run(spy.disk, { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
    expect(spy.calls).toEqual([]);
  });

  it('names the folder of state that cannot be made', async () => {
    await writeFile(join(stateDir, 'disk0'), '');
    await expect(run(spyDisk().disk)).rejects.toMatchObject({
      code: 'disk.state-folder',
      message: `The folder ${join(stateDir, 'disk0')} cannot be created.`,
    });
  });
});

describe('a disk whose other side goes away', () => {
  it('is stopped, and says why it ended', async () => {
    const spy = spyDisk();
    const disk = await run(spy.disk);
    spy.close(new Error('the kernel marked the device broken'));
    expect(await disk.ended).toMatchObject({
      code: 'disk.broken',
      why: 'The kernel marked the device broken.',
    });
    expect(spy.calls.slice(START.length)).toEqual(STOP);
  });

  it('has nothing to say after it was stopped', async () => {
    const spy = spyDisk();
    const disk = await run(spy.disk);
    await disk.stop();
    spy.close();
    expect(await disk.ended).toBeUndefined();
  });
});

describe('a stop that fails', () => {
  it.each<FailAt>(['quiesce', 'detach', 'flush', 'close'])('at %s still does the rest', async (failAt) => {
    const spy = spyDisk({ failAt });
    const disk = await run(spy.disk);
    await expect(disk.stop()).rejects.toMatchObject({
      code: 'disk.stop-failed',
      message: 'Disk "disk0" did not stop cleanly.',
    });
    expect(spy.calls.slice(START.length)).toEqual(STOP);
  });
});
