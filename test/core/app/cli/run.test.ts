import { rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually, isAlive, Rig } from '../rig.ts';
import { CliProcess, cli } from './run-cli.ts';

let rig: Rig;
let owned: AsyncDisposableStack;
beforeEach(() => {
  owned = new AsyncDisposableStack();
});
afterEach(() => owned.disposeAsync());

async function use(disks?: Parameters<typeof Rig.make>[0]): Promise<string[]> {
  rig = owned.use(await Rig.make(disks));
  return ['run', '-c', rig.configFile, '--state-dir', rig.path('state')];
}

/** A gateway in the foreground that is ended with the test, whatever happens. */
async function serve(args: readonly string[]): Promise<CliProcess> {
  const process = new CliProcess(args);
  owned.defer(async () => {
    if (isAlive(process.pid)) process.kill('SIGKILL');
  });
  await eventually(() => process.stdout.includes('\n') || process.stderr.includes('✖'));
  return process;
}

describe('run', () => {
  it('prints a line with path, size and stack, and stops at SIGTERM with status 0', async () => {
    const run = await serve(await use({ disk0: { size: '4MiB', readOnly: true } }));
    expect(run.stdout).toBe(
      'disk0  /dev/fake/disk0  4 MiB, read-only, volatile  window > readonly > memory\n',
    );
    run.kill('SIGTERM');
    expect(await run.ended).toMatchObject({ status: 0, stderr: 'disk0: stopping …\ndisk0: stopped\n' });
    expect(await rig.journal()).toEqual(['disk0 attach', 'disk0 quiesce', 'disk0 detach']);
  });

  it('says how a disk is used where its path does not tell', async () => {
    const run = await serve(await use({ disk0: { usage: ['QEMU:', '  -device something'] } }));
    await eventually(() => run.stdout.includes('-device'));
    expect(run.stdout.split('\n').slice(1)).toEqual(['  QEMU:', '    -device something', '']);
    run.kill('SIGTERM');
    await run.ended;
  });

  it('prints an object a line with --json', async () => {
    const run = await serve([...(await use()), '--json']);
    run.kill('SIGINT');
    const { stdout } = await run.ended;
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events).toMatchObject([
      { event: 'ready', disk: 'disk0', path: '/dev/fake/disk0', size: 1 << 20 },
      { event: 'stopping', disk: 'disk0' },
      { event: 'stopped', disk: 'disk0' },
    ]);
    expect(events[0].stack.map((layer: { name: string }) => layer.name)).toEqual(['window', 'memory']);
  });

  it('goes on at the first signal while a disk is used, says by whom, and gives in to the second', async () => {
    const run = await serve(await use({ disk0: { held: 'held' } }));
    await writeFile(rig.path('held'), 'mounted at /srv');
    run.kill('SIGINT');
    await eventually(() => run.stderr.includes('Ask again'));
    expect(run.stderr).toBe(
      [
        '✖ A disk is in use: "disk0" is mounted at /srv.',
        '  Why    Taking a disk away from under a file system or a program loses what was not written yet.',
        '  Fix    Unmount it, swapoff it or end those programs, then stop again; --force takes it away all the same.',
        '  Code   disk.held',
        'Still running. Ask again within 10 seconds to stop all the same.',
        '',
      ].join('\n'),
    );
    expect(await rig.journal()).toEqual(['disk0 attach']);
    run.kill('SIGINT');
    expect(await run.ended).toMatchObject({ status: 0 });
    expect(await rig.journal()).toContain('disk0 detach');
  });

  it('takes used disks away at once with --force', async () => {
    const run = await serve([...(await use({ disk0: { held: 'held' } })), '--force']);
    await writeFile(rig.path('held'), 'mounted at /srv');
    run.kill('SIGTERM');
    expect(await run.ended).toMatchObject({ status: 0 });
  });

  it('explains why a disk cannot start and ends with status 1', async () => {
    const { status, stdout, stderr } = await cli(await use({ disk0: { failAttach: true } }));
    expect({ status, stdout, stderr }).toEqual({
      status: 1,
      stdout: '',
      stderr: [
        'disk0:',
        '✖ The window is stuck.',
        '  Why    It was painted over.',
        '  Fix    Push.',
        '  Code   window.stuck',
        '',
      ].join('\n'),
    });
  });

  it('serves what can be served with --keep-going, and ends with status 1 all the same', async () => {
    const args = await use({ disk0: {}, disk1: { failAttach: true } });
    const run = await serve([...args, '--keep-going']);
    await eventually(() => run.stdout.includes('disk0') && run.stderr.includes('stuck'));
    run.kill('SIGTERM');
    expect(await run.ended).toMatchObject({ status: 1 });
  });

  it('gives a start up at a signal with status 130', async () => {
    const run = new CliProcess(await use({ disk0: { hangAttach: true } }));
    await eventually(async () => (await rig.journal()).length > 0);
    const pid = await rig.pidOf('disk0');
    run.kill('SIGINT');
    expect(await run.ended).toMatchObject({ status: 130, stderr: 'Ended by SIGINT.\n' });
    expect(isAlive(pid)).toBe(false);
  });

  it('starts a disk again that dies, and says what it means', async () => {
    const run = await serve(await use({ disk0: { durable: true } }));
    process.kill(await rig.pidOf('disk0'), 'SIGKILL');
    await eventually(() => run.stdout.split('\n').length === 3);
    run.kill('SIGTERM');
    const { status, stderr } = await run.ended;
    expect(status).toBe(0);
    expect(stderr).toContain('✖ The process of disk "disk0" was killed by SIGKILL.');
    expect(stderr).toContain('Whoever uses /dev/fake/disk0 waits until it is served again.');
    expect(stderr).toContain('disk0: starting again\n');
  });

  it('does not start a disk again that has lost its content, and ends with status 1', async () => {
    const run = await serve(await use());
    process.kill(await rig.pidOf('disk0'), 'SIGKILL');
    const { status, stderr } = await run.ended;
    expect(status).toBe(1);
    expect(stderr).toContain('✖ Disk "disk0" has lost its content with its process.');
    expect(stderr).toContain('disk0: stays down\n');
  });

  it('ends with status 1 when it is stopped while a disk is down', async () => {
    const run = await serve(await use({ disk0: { refuse: 'refuse', durable: true } }));
    await writeFile(rig.path('refuse'), '');
    process.kill(await rig.pidOf('disk0'), 'SIGKILL');
    await eventually(() => run.stderr.includes('starting again in'));
    run.kill('SIGTERM');
    const { status, stderr } = await run.ended;
    expect(status).toBe(1);
    expect(stderr).toContain('blockgate destroy disk0');
  });

  it('refuses an unknown disk with status 2 and the nearest name', async () => {
    const { status, stderr } = await cli([...(await use()), 'dsik0']);
    expect(status).toBe(2);
    expect(stderr).toContain('✖ There is no disk "dsik0".');
    expect(stderr).toContain('Did you mean "disk0"?');
    expect(await rig.journal()).toEqual([]);
  });

  it('starts nothing when one of the disks has a mistake', async () => {
    const args = [...(await use({ disk0: {}, disk1: {} })), '--set', 'disks.disk1.backend.size=tiny'];
    const { status, stderr } = await cli(args);
    expect(status).toBe(2);
    expect(stderr).toContain('tiny');
    expect(await rig.journal()).toEqual([]);
  });
});

describe('run with a command', () => {
  it('gives it the disks and has its exit status', async () => {
    const command = ['--', 'sh', '-c', 'echo "$BLOCKGATE_DEVICE; $BLOCKGATE_DEVICES"; exit 7'];
    const result = await cli([...(await use({ disk0: {}, disk1: {} })), ...command]);
    expect(result.status).toBe(7);
    expect(result.stdout).toContain('/dev/fake/disk0; /dev/fake/disk0 /dev/fake/disk1\n');
    expect(await rig.journal()).toEqual(expect.arrayContaining(['disk0 detach', 'disk1 detach']));
  });

  it('passes a signal on to it and stops the disks afterwards', async () => {
    const command = ['--', 'sh', '-c', 'echo started; exec sleep 60'];
    const run = await serve([...(await use()), ...command]);
    await eventually(() => run.stdout.includes('started'));
    run.kill('SIGTERM');
    expect(await run.ended).toMatchObject({ status: 143 });
    expect(await rig.journal()).toContain('disk0 detach');
  });

  it('waits for a disk that it left mounted', async () => {
    const args = await use({ disk0: { held: 'held' } });
    const run = await serve([...args, '--', 'sh', '-c', `echo mounted at /srv > ${rig.path('held')}`]);
    await eventually(() => run.stderr.includes('in use'));
    await rm(rig.path('held'));
    expect(await run.ended).toMatchObject({ status: 0 });
  });

  it('takes a disk away that nobody lets go of in the grace period, with status 4', async () => {
    const args = [...(await use({ disk0: { held: 'held' } })), '--grace', '0.1'];
    const result = await cli([...args, '--', 'sh', '-c', `echo mounted at /srv > ${rig.path('held')}`]);
    expect(result.status).toBe(4);
    expect(result.stderr).toContain('Taking the disks away although they are in use.');
    expect(await rig.journal()).toContain('disk0 detach');
  });

  it('stops the disks when it cannot be run', async () => {
    const result = await cli([...(await use()), '--', '/no/such/command']);
    expect(result.status).toBe(2);
    expect(result.stderr).toContain('✖ The command "/no/such/command" cannot be run.');
    expect(await rig.journal()).toContain('disk0 detach');
  });
});

describe('a disk whose gateway is killed', () => {
  it('is stopped by its own process', async () => {
    const run = await serve(await use());
    const pid = await rig.pidOf('disk0');
    run.kill('SIGKILL');
    await eventually(() => !isAlive(pid));
    expect(await rig.journal()).toEqual(['disk0 attach', 'disk0 quiesce', 'disk0 detach']);
  });

  it('is served on for as long as somebody uses it, within the grace period', async () => {
    const run = await serve(await use({ disk0: { held: 'held' } }));
    const pid = await rig.pidOf('disk0');
    await writeFile(rig.path('held'), 'mounted at /srv');
    run.kill('SIGKILL');
    await eventually(() => !isAlive(run.pid));
    expect(isAlive(pid)).toBe(true);
    expect(await rig.journal()).toEqual(['disk0 attach']);
    await rm(rig.path('held'));
    await eventually(() => !isAlive(pid));
    expect(await rig.journal()).toContain('disk0 detach');
  });
});
