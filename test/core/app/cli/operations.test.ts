import { readdir, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import s3 from '../../../../backends/s3/index.ts';
import { context, pattern } from '../../../backends/s3/harness.ts';
import { startS3 } from '../../../support/s3.ts';
import { eventually, isAlive, Rig } from '../rig.ts';
import { CliProcess, cli } from './run-cli.ts';

let rig: Rig;
let owned: AsyncDisposableStack;
beforeEach(() => {
  owned = new AsyncDisposableStack();
});
afterEach(() => owned.disposeAsync());

async function serve(disks?: Parameters<typeof Rig.make>[0], args: string[] = []): Promise<CliProcess> {
  rig = owned.use(await Rig.make(disks));
  const run = new CliProcess(['run', '-c', rig.configFile, '--state-dir', rig.path('state'), ...args]);
  owned.defer(() => end(run));
  const lines = Object.keys(disks ?? { disk0: {} }).length;
  await eventually(() => run.stdout.split('\n').length > lines || run.stderr.includes('✖'));
  return run;
}

/** A gateway that is killed would leave processes that write into the folder. */
async function end(run: CliProcess): Promise<void> {
  if (isAlive(run.pid)) run.kill('SIGTERM');
  await run.ended;
}

const ask = (...args: string[]) => cli([...args, '--state-dir', rig.path('state')]);
const json = async (...args: string[]) => JSON.parse((await ask(...args, '--json')).stdout);

describe('status', () => {
  it('shows every disk with what its process and its frontend tell', async () => {
    await serve({ disk0: { size: '4MiB' }, disk1: {} });
    const { status, stdout } = await ask('status');
    expect(status).toBe(0);
    const pid = await rig.pidOf('disk0');
    expect(stdout).toContain('disk0  running  /dev/fake/disk0  4 MiB  window > memory\n');
    expect(stdout).toMatch(new RegExp(`^ {2}process {5}pid ${pid}, up \\d+ s, 0 restarts, 0 requests`, 'm'));
    expect(stdout).toMatch(/^ {2}event loop {2}late by [\d.]+ ms \(median\)/m);
    expect(stdout).toContain('  frontend    panes 4\n  features    LOCK BLIND\n');
    expect(stdout).toContain('disk1  running');
  });

  it('is a machine’s to read with --json, for the disks that are named', async () => {
    const run = await serve({ disk0: {}, disk1: {} });
    const [gateway] = await json('status', 'disk1');
    expect(gateway).toMatchObject({ pid: run.pid, config: rig.configFile });
    expect(gateway.disks).toMatchObject([
      { disk: 'disk1', state: 'running', restarts: 0, report: { inFlight: 0, frontend: { panes: 4 } } },
    ]);
  });

  it('tells of a disk that is down, and why, with status 1', async () => {
    const run = await serve({ disk0: { refuse: 'refuse', durable: true } });
    await writeFile(rig.path('refuse'), '');
    process.kill(await rig.pidOf('disk0'), 'SIGKILL');
    await eventually(() => run.stderr.includes('starting again in'));
    const { status, stdout } = await ask('status', 'disk0');
    expect(status).toBe(1);
    expect(stdout).toContain('disk0  restarting\n');
    expect(stdout).toContain('  last death  The window is stuck.\n');
  });

  it('says that there is no gateway, or none with that disk', async () => {
    await serve();
    expect(await ask('status', 'disk7')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('disk7'),
    });
    const nowhere = await cli(['status', '--state-dir', rig.path('nowhere')]);
    expect(nowhere).toMatchObject({ status: 1, stderr: expect.stringContaining('No gateway is running') });
  });
});

describe('detach', () => {
  it('stops one disk, and the gateway ends with the last', async () => {
    const run = await serve({ disk0: {}, disk1: {} });
    expect(await ask('detach', 'disk0')).toMatchObject({ status: 0 });
    expect(await rig.journal()).toContain('disk0 detach');
    expect(await rig.journal()).not.toContain('disk1 detach');
    expect(await ask('detach', 'disk0')).toMatchObject({ status: 1 });
    await ask('detach', 'disk1');
    expect(await run.ended).toMatchObject({ status: 0 });
    expect(await readdir(rig.path('state/.control'))).toEqual([]);
  });

  it('is refused while the disk is used, with status 4 and by whom, unless forced', async () => {
    await serve({ disk0: { held: 'held' }, disk1: {} });
    await writeFile(rig.path('held'), 'mounted at /srv');
    const refused = await ask('detach', 'disk0');
    expect(refused.status).toBe(4);
    expect(refused.stderr).toContain('✖ A disk is in use: "disk0" is mounted at /srv.');
    const forced = await ask('detach', 'disk0', '--force');
    expect(forced.stderr).toContain('Taken away while it was mounted at /srv.');
    expect(forced.status).toBe(0);
  });
});

describe('upgrade', () => {
  it('has another process serve the disk, which was released and not detached', async () => {
    await serve({ disk0: { durable: true } });
    const before = await rig.pidOf('disk0');
    const { pausedMs } = await json('upgrade', 'disk0');
    expect(pausedMs).toBeGreaterThan(0);
    expect(await rig.journal()).toEqual(['disk0 attach', 'disk0 quiesce', 'disk0 release', 'disk0 attach']);
    const after = await rig.pidOf('disk0');
    expect(after).not.toBe(before);
    expect(isAlive(before)).toBe(false);
    expect((await json('status'))[0].disks[0].report.pid).toBe(after);
  });

  it('whose process cannot serve the disk ends in a disk that is started again', async () => {
    const run = await serve({ disk0: { refuse: 'refuse', durable: true } });
    await writeFile(rig.path('refuse'), '');
    expect(await ask('upgrade', 'disk0')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('The window is stuck.'),
    });
    await eventually(() => run.stderr.includes('starting again in'));
    await rm(rig.path('refuse'));
  });

  it('is refused for a disk in the gateway’s own process', async () => {
    await serve({ disk0: { durable: true } }, ['--in-process']);
    const { status, stderr } = await ask('upgrade', 'disk0');
    expect(status).toBe(1);
    expect(stderr).toContain('disk.cannot-upgrade');
  });

  it('is refused for a disk whose content would end with its process', async () => {
    await serve({ disk0: {} });
    expect((await ask('upgrade', 'disk0')).stderr).toContain('disk.cannot-upgrade');
    expect(await rig.journal()).toEqual(['disk0 attach']);
  });
});

describe('snapshot --at', () => {
  it('is refused where the backend remembers nothing', async () => {
    await serve();
    const { status, stderr } = await ask('snapshot', 'disk0', 'then', '--at', '2h ago');
    expect(status).toBe(1);
    expect(stderr).toContain('has no points in time');
  });

  it('keeps what a disk in use was', async () => {
    const server = owned.use(await startS3('the embedded server'));
    const settings = { ...server.backend, prefix: 'disk', size: '16MiB', retention: '24h' };
    const backend = JSON.stringify({ type: 's3', ...settings });
    expect(await cli(['volume', 'create', backend])).toMatchObject({ status: 0 });
    const { type: _, ...config } = JSON.parse(backend);
    const parsed = await s3.config['~standard'].validate(config);
    if (parsed.issues) expect.fail('the configuration is wrong');
    {
      await using device = await s3.open(parsed.value, context());
      await device.write!(0, [pattern(4096, 1)], 0);
      await device.flush!(0);
    }
    const [point] = JSON.parse((await cli(['volume', 'points', backend, '--json'])).stdout);
    await serve({ disk0: {} }, ['--set', `disks.disk0.backend=${backend}`]);
    expect(await json('snapshot', 'disk0', 'then', '--at', point.at)).toEqual({
      disk: 'disk0',
      name: 'then',
      size: 16 << 20,
      createdAt: point.at,
    });
    expect(await ask('snapshot', 'disk0', 'before', '--at', '2h ago')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('volume.no-point'),
    });
  });
});

describe('resize', () => {
  it('is refused where the backend cannot', async () => {
    await serve();
    const { status, stderr } = await ask('resize', 'disk0', '8MiB');
    expect(status).toBe(1);
    expect(stderr).toContain('disk.cannot-resize');
  });

  it('grows a file, tells the frontend, and survives a restart although "size" says otherwise', async () => {
    rig = owned.use(await Rig.make());
    const backend = JSON.stringify({ type: 'file', path: 'disk.img', size: '1MiB' });
    const args = ['run', '-c', rig.configFile, '--state-dir', rig.path('state')];
    const run = new CliProcess([...args, '--set', `disks.disk0.backend=${backend}`]);
    owned.defer(() => end(run));
    await eventually(() => run.stdout !== '' || run.stderr.includes('✖'));
    expect(await json('resize', 'disk0', '4MiB')).toEqual({ disk: 'disk0', size: 4 << 20 });
    expect(await rig.journal()).toContain(`disk0 resize ${4 << 20}`);
    expect(await ask('resize', 'disk0', '1MiB')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('volume.cannot-shrink'),
    });
    process.kill(await rig.pidOf('disk0'), 'SIGKILL');
    await eventually(() => run.stdout.split('\n').length === 3 || run.stderr.includes('starting again in'));
    expect((await json('status'))[0].disks[0]).toMatchObject({
      state: 'running',
      restarts: 1,
      report: { size: 4 << 20 },
    });
  });
});
