import { readdir, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCli } from '../../../../core/app/cli/program.ts';
import { Rig } from '../rig.ts';
import { fakeTerminal } from './fake-terminal.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await Rig.make({ disk0: { size: '4MiB', readOnly: true }, disk1: {} });
});
afterEach(() => rig[Symbol.asyncDispose]());

async function check(...args: string[]) {
  const { terminal, stdout, stderr } = fakeTerminal();
  const status = await runCli(['check', '-c', rig.configFile, ...args], terminal);
  return { status, stdout: stdout.text, stderr: stderr.text };
}

describe('check', () => {
  it('shows what each disk consists of, and says that all is well', async () => {
    const { status, stdout, stderr } = await check();
    expect(status).toBe(0);
    expect(stdout).toBe(
      [
        'disk0',
        '├─ window    frontend',
        '├─ readonly  added: the disk is configured read-only',
        '└─ memory    backend',
        'disk1',
        '├─ window  frontend',
        '└─ memory  backend',
        '',
      ].join('\n'),
    );
    expect(stderr).toBe(`✔ ${rig.configFile}: 2 disks, no problems\n`);
  });

  it('touches nothing, not even with --open', async () => {
    const before = await readdir(rig.folder);
    await check();
    await check('--open');
    expect(await readdir(rig.folder)).toEqual(before);
    expect(await rig.journal()).toEqual([]);
  });

  it('opens stores to show size and capabilities with --open', async () => {
    const { stdout } = await check('--open', 'disk1');
    expect(stdout).toMatch(/^disk1 {2}1 MiB {2}opened for reading: read, /);
  });

  it('reports the mistakes of every disk with status 2, and the disks without', async () => {
    const set = ['--set', 'disks.disk0.backend.size=tiny', '--set', 'disks.disk0.backend.colour="red"'];
    const { status, stdout, stderr } = await check(...set);
    expect(status).toBe(2);
    expect(stderr).toContain('tiny');
    expect(stderr).toContain('colour');
    expect(stdout).toBe('disk1\n├─ window  frontend\n└─ memory  backend\n');
  });

  it('says the same as JSON', async () => {
    const { status, stdout } = await check('--json', '--set', 'disks.disk0.backend.size=tiny');
    expect(status).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({
      file: rig.configFile,
      disks: [
        { name: 'disk0', valid: false },
        { name: 'disk1', valid: true, stack: [{ name: 'window' }, { name: 'memory' }] },
      ],
      problems: [{ code: 'config.invalid', where: { pointer: '/disks/disk0/backend/size' } }],
    });
  });

  it('refuses a file that is not there', async () => {
    const { terminal, stderr } = fakeTerminal();
    expect(await runCli(['check', '-c', rig.path('other.json')], terminal)).toBe(2);
    expect(stderr.text).toContain('There is no configuration file');
  });

  it('refuses an unknown disk', async () => {
    expect(await check('disk7')).toMatchObject({ status: 2, stdout: '' });
  });

  it('reports a file that is no JSON', async () => {
    await writeFile(rig.configFile, '{ "version": 1,');
    const { status, stderr } = await check();
    expect(status).toBe(2);
    expect(stderr).toContain('✖');
  });
});
