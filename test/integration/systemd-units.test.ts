import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** What packaging/ has for systemd, as systemd's own tools see it. */

const PACKAGING = join(import.meta.dirname, '../../packaging');
const read = (path: string): string => readFileSync(join(PACKAGING, path), 'utf8');

beforeAll(() => ensureDebianPackages(['systemd', 'udev']));

/** `systemd-analyze` on the units, as if blockgate were installed. */
function analyze(args: readonly string[], units: readonly string[]) {
  using folder = tempFolder();
  for (const name of readdirSync(join(PACKAGING, 'systemd'))) {
    const unit = read(`systemd/${name}`).replaceAll('/usr/bin/blockgate', process.execPath);
    writeFileSync(folder.file(name), unit);
  }
  const result = spawnSync('systemd-analyze', [...args, ...units.map((unit) => folder.file(unit))], {
    encoding: 'utf8',
  });
  return { status: result.status, output: `${result.stdout}${result.stderr}` };
}

describe('the units', () => {
  it('are free of mistakes', () => {
    const { status, output } = analyze(['verify'], ['blockgate.service', 'blockgate@disk0.service']);
    expect(output).toBe('');
    expect(status).toBe(0);
  });

  it('would be reported if they were not', () => {
    const { output } = analyze(['verify', '--man=no'], ['blockgate.service', 'no-such.service']);
    expect(output).toContain('no-such.service');
  });

  it('are as confined as they can be: systemd calls their exposure OK', () => {
    const { status, output } = analyze(
      ['security', '--offline=yes', '--threshold=45', '--no-pager'],
      ['blockgate.service'],
    );
    expect(output).toContain('exposure level');
    expect(status).toBe(0);
  });

  it('differ only in what a disk of its own takes', () => {
    const settings = (name: string) =>
      read(`systemd/${name}`)
        .split('\n')
        .filter((line) => !line.startsWith('#'));
    const [all, one] = [settings('blockgate.service'), settings('blockgate@.service')];
    const names = (lines: readonly string[]) => lines.map((line) => line.split('=')[0]);
    expect(names(one.filter((line) => !all.includes(line)))).toEqual([
      'Description',
      'Conflicts',
      'ExecStart',
      'RuntimeDirectoryPreserve',
    ]);
    expect(names(all.filter((line) => !one.includes(line)))).toEqual([
      'Description',
      'ExecStart',
      'RuntimeDirectoryPreserve',
    ]);
  });

  it('pass only options that blockgate has', () => {
    const help = spawnSync(process.execPath, [join(PACKAGING, '../core/app/cli/main.ts'), 'run', '--help'], {
      encoding: 'utf8',
    }).stdout;
    for (const name of ['blockgate.service', 'blockgate@.service']) {
      const command = /^ExecStart=(.*)$/m.exec(read(`systemd/${name}`))![1]!;
      const options = command.split(' ').filter((word) => word.startsWith('-'));
      expect(options.length).toBeGreaterThan(1);
      for (const option of options) expect(help).toContain(` ${option}`);
    }
  });
});

describe('the user', () => {
  it('is one that systemd-sysusers makes', () => {
    using root = tempFolder();
    mkdirSync(root.file('etc'));
    const { status, stderr } = spawnSync('systemd-sysusers', [`--root=${root.path}`, '-'], {
      encoding: 'utf8',
      input: read('sysusers.d/blockgate.conf'),
    });
    expect({ status, stderr }).toMatchObject({ status: 0 });
    expect(readFileSync(root.file('etc/passwd'), 'utf8')).toMatch(
      /^blockgate:x:\d+:\d+:blockgate disk server:\/var\/lib\/blockgate:/m,
    );
  });
});
