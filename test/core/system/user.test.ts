import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { becomeUser, findUser } from '../../../core/system/user.ts';

const MODULE = new URL('../../../core/system/user.ts', import.meta.url).href;

/** Runs in a process of its own, which may be ruined. */
function run(script: string): string {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', `import { becomeUser, findUser } from '${MODULE}';${script}`],
    { encoding: 'utf8' },
  );
  return stdout || stderr;
}

describe('findUser', () => {
  it('finds ids and home of a user', () => {
    expect(findUser('root')).toEqual({ name: 'root', uid: 0, gid: 0, home: '/root' });
  });

  it('finds nothing under a name that nobody has', () => {
    expect(findUser('nobody-has-this-name')).toBeUndefined();
  });
});

describe('becomeUser', () => {
  it('refuses to become root, which would change nothing', () => {
    expect(() => becomeUser({ name: 'root', uid: 0, gid: 0, home: '/root' })).toThrow(RangeError);
  });

  it.runIf(process.getuid?.() === 0)('leaves no thread of the process a privilege, nor a way to one', () => {
    const output = run(`
      import { readdirSync, readFileSync } from 'node:fs';
      becomeUser(findUser('nobody'));
      for (const thread of readdirSync('/proc/self/task')) {
        const status = readFileSync('/proc/self/task/' + thread + '/status', 'utf8');
        console.log(['Uid', 'Groups', 'CapPrm', 'CapEff', 'CapAmb'].map((name) =>
          new RegExp('^' + name + ':\\\\s*(.*?)\\\\s*$', 'm').exec(status)[1]).join(' '));
      }
      console.log(process.env.HOME);
      for (const back of [() => process.setuid(0), () => process.setgid(0)])
        try { back(); console.log('root again') } catch (error) { console.log(error.code) }
    `);
    const { uid, gid, home } = findUser('nobody')!;
    const lines = output.trim().split('\n');
    expect(lines.splice(-3)).toEqual([home, 'EPERM', 'EPERM']);
    expect(lines.length).toBeGreaterThan(1);
    const none = '0'.repeat(16);
    const status = `${Array(4).fill(uid).join('\t')} ${gid} ${none} ${none} ${none}`;
    expect(new Set(lines)).toEqual(new Set([status]));
  });

  it.runIf(process.getuid?.() === 0)('keeps set-user-ID programs from raising what it starts', () => {
    const output = run(`
      import { spawnSync } from 'node:child_process';
      becomeUser(findUser('nobody'));
      console.log(spawnSync('grep', ['NoNewPrivs', '/proc/self/status'], { encoding: 'utf8' }).stdout);
    `);
    expect(output.trim()).toMatch(/^NoNewPrivs:\s*1$/);
  });
});
