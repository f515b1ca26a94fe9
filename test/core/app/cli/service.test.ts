import { readFileSync, statSync } from 'node:fs';
import { chmod, chown, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkAccess } from '../../../../core/app/user-access.ts';
import { findUser } from '../../../../core/system/user.ts';
import { DatagramReceiver } from '../../../support/datagram-receiver.ts';
import { CLOSED_TO_NOBODY, isClosedToNobody } from '../../../support/nobody.ts';
import { tempFolder } from '../../../support/temp-folder.ts';
import { eventually, isAlive, Rig } from '../rig.ts';
import { CliProcess, cli } from './run-cli.ts';

let owned: AsyncDisposableStack;
beforeEach(() => {
  owned = new AsyncDisposableStack();
});
afterEach(() => owned.disposeAsync());

/** `blockgate run` as a service, with a manager that listens. */
async function serve(rig: Rig, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  const manager = owned.use(new DatagramReceiver(rig.path('notify')));
  const run = new CliProcess(['run', '-c', rig.configFile, '--state-dir', rig.path('state'), ...args], {
    env: { NOTIFY_SOCKET: rig.path('notify'), ...env },
  });
  owned.defer(async () => {
    // A disk’s process without a gateway goes on for as long as its disk is used.
    await rm(rig.path('held'), { force: true });
    if (isAlive(run.pid)) run.kill('SIGKILL');
    await run.ended;
  });
  const heard = (text: string) => manager.receive().includes(text);
  await eventually(() => heard('READY=1') || run.stderr.includes('✖'));
  return { run, heard, said: () => manager.receive() };
}

describe('run as a service of systemd', () => {
  it('says when every disk is ready, what it does, and that it stops', async () => {
    const rig = owned.use(await Rig.make({ disk0: {}, disk1: {} }));
    const { run, said } = await serve(rig);
    const ready = said().indexOf('READY=1');
    expect(said().slice(0, ready).at(-1)).toMatch(/^STATUS=serving disk[01], disk[01]$/);
    run.kill('SIGTERM');
    expect(await run.ended).toMatchObject({ status: 0 });
    const end = said().slice(ready + 1);
    expect(end.slice(0, 2)).toEqual(['STOPPING=1', 'EXTEND_TIMEOUT_USEC=20000000']);
    expect(end.at(-1)).toBe('STATUS=no disks');
  });

  it('is never ready when a disk does not start', async () => {
    const rig = owned.use(await Rig.make({ disk0: {}, disk1: { failAttach: true } }));
    const { run, said } = await serve(rig);
    expect(await run.ended).toMatchObject({ status: 1 });
    expect(said()).not.toContain('READY=1');
  });

  it('gives signs of life when there is a watchdog', async () => {
    const rig = owned.use(await Rig.make());
    const { run, heard } = await serve(rig, [], { WATCHDOG_USEC: '2000000' });
    expect(run.stderr).toBe('');
    await eventually(() => heard('WATCHDOG=1'));
  });

  it('waits when it is told to stop until nobody uses the disks', async () => {
    const rig = owned.use(await Rig.make({ disk0: { held: 'held' } }));
    const { run, heard } = await serve(rig, ['--grace', '3600']);
    await writeFile(rig.path('held'), 'mounted at /srv');
    run.kill('SIGTERM');
    await eventually(() => heard('STATUS=waiting, mounted at /srv: disk0'));
    expect(await rig.journal()).toEqual(['disk0 attach']);
    await rm(rig.path('held'));
    expect(await run.ended).toMatchObject({ status: 0 });
  });

  it('takes the disks away when somebody keeps them for longer than the grace period', async () => {
    const rig = owned.use(await Rig.make({ disk0: { held: 'held' } }));
    const { run } = await serve(rig, ['--grace', '0.1']);
    await writeFile(rig.path('held'), 'mounted at /srv');
    run.kill('SIGTERM');
    expect(await run.ended).toMatchObject({ status: 4 });
    expect(await rig.journal()).toEqual(['disk0 attach', 'disk0 quiesce', 'disk0 detach']);
  });

  it('kills the process of a disk that hangs, and that one alone', async () => {
    const rig = owned.use(await Rig.make({ disk0: { durable: true }, disk1: {} }));
    const { run, heard } = await serve(rig, [], { WATCHDOG_USEC: '2000000' });
    const hung = await rig.pidOf('disk0');
    process.kill(hung, 'SIGSTOP');
    await eventually(
      () => heard('STATUS=serving disk1; down: disk0') || heard('STATUS=down: disk0; serving disk1'),
    );
    expect(run.stderr).toContain('gave no sign of life for 2 s and was killed');
    expect(isAlive(await rig.pidOf('disk1'))).toBe(true);
    // Another one takes its place.
    await eventually(async () => (await rig.pidOf('disk0')) !== hung);
  });
});

describe('run --user', () => {
  it.runIf(process.getuid?.() === 0)(
    'serves as that user, without a capability, what was root’s before',
    async ({ skip }) => {
      skip(await isClosedToNobody(), CLOSED_TO_NOBODY);
      const rig = owned.use(await Rig.make());
      const first = await serve(rig);
      first.run.kill('SIGTERM');
      await first.run.ended;
      await chmod(rig.folder, 0o711);
      await chmod(rig.path('journal'), 0o666);
      await rm(rig.path('notify'));
      const { run } = await serve(rig, ['--user', 'nobody']);
      expect(run.stderr).toBe('');
      const process = `/proc/${await rig.pidOf('disk0')}`;
      const status = readFileSync(`${process}/status`, 'utf8');
      const uid = findUser('nobody')!.uid;
      expect(status).toMatch(new RegExp(`^Uid:${`\\t${uid}`.repeat(4)}$`, 'm'));
      expect(status).toMatch(/^CapEff:\t0{16}$/m);
      // Other processes of the user may not look into it: that is what these files being root’s means.
      expect(statSync(`${process}/mem`).uid).toBe(0);
      run.kill('SIGTERM');
      expect(await run.ended).toMatchObject({ status: 0 });
      expect(await rig.journal()).toHaveLength(6);
    },
  );

  it.runIf(process.getuid?.() === 0)('stays that user when the disk is upgraded', async ({ skip }) => {
    skip(await isClosedToNobody(), CLOSED_TO_NOBODY);
    const rig = owned.use(await Rig.make({ disk0: { durable: true } }));
    const { uid, gid } = findUser('nobody')!;
    await chmod(rig.folder, 0o711);
    await chmod(rig.path('journal'), 0o666);
    await writeFile(rig.path('disk0.img'), new Uint8Array(1 << 20));
    await chown(rig.path('disk0.img'), uid, gid);
    const { run } = await serve(rig, ['--user', 'nobody']);
    expect(run.stderr).toBe('');
    const before = await rig.pidOf('disk0');
    const upgrade = await cli(['upgrade', '--state-dir', rig.path('state'), 'disk0']);
    expect(upgrade).toMatchObject({ status: 0 });
    const after = await rig.pidOf('disk0');
    expect(after).not.toBe(before);
    expect(readFileSync(`/proc/${after}/status`, 'utf8')).toMatch(new RegExp(`^Uid:(\\t${uid}){4}$`, 'm'));
    run.kill('SIGTERM');
    expect(await run.ended).toMatchObject({ status: 0 });
  });

  it.each([
    ['nobody-has-this-name', 'cli.unknown-user'],
    ['root', 'cli.user-is-root'],
  ])('refuses %s', async (name, code) => {
    const rig = owned.use(await Rig.make());
    const { status, stderr } = await cli(['run', '-c', rig.configFile, '--user', name]);
    expect(status).toBe(2);
    expect(stderr).toContain(code);
  });

  it.runIf(process.getuid?.() === 0)('refuses a user who may not read the program', async () => {
    using folder = tempFolder();
    const program = folder.file('main.ts');
    await writeFile(program, '');
    const nobody = findUser('nobody')!;
    await chmod(folder.path, 0o700);
    await expect(checkAccess(nobody, [program])).rejects.toMatchObject({
      code: 'cli.user-without-access',
      why: expect.stringContaining(`${folder.path} is closed`),
      fix: expect.stringContaining('/opt'),
    });
    await chmod(folder.path, 0o711);
    await checkAccess(nobody, [program]);
    await chmod(program, 0o600);
    await expect(checkAccess(nobody, [program])).rejects.toMatchObject({
      why: expect.stringContaining(`${program} is closed`),
    });
  });

  it('refuses to run in one process', async () => {
    const rig = owned.use(await Rig.make());
    const { status } = await cli(['run', '-c', rig.configFile, '--user', 'nobody', '--in-process']);
    expect(status).toBe(2);
  });
});
