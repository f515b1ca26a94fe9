import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startScript } from '../../../core/vm/guest-script.ts';

/** What the guest's agent does with it. */
function start(script: string): { status: number | null; stdout: string } {
  const { status, stdout } = spawnSync('sh', ['-c', script], { encoding: 'utf8', env: {} });
  return { status, stdout };
}

describe('startScript', () => {
  it('passes every character of an argument through', () => {
    const argument = `it's "quoted" $HOME \`date\` \\ *\nsecond line`;
    const { stdout } = start(startScript(['printf', '%s', argument], { cwd: '/' }));
    expect(stdout).toBe(argument);
  });

  it('passes an empty argument through', () => {
    expect(start(startScript(['printf', '<%s>', '', 'x'], { cwd: '/' })).stdout).toBe('<><x>');
  });

  it('sets the variables it was given, and no others of the host', () => {
    process.env['BLOCKGATE_TEST_HOST_ONLY'] = 'leaked';
    const { stdout } = start(startScript(['env'], { cwd: '/', env: { GREETING: "don't panic" } }));
    delete process.env['BLOCKGATE_TEST_HOST_ONLY'];
    expect(stdout).toContain("GREETING=don't panic\n");
    expect(stdout).toContain('VM_RESULTS=/run/vm/results\n');
    expect(stdout).not.toContain('leaked');
  });

  it('puts the Node.js that runs this first on PATH', () => {
    const { stdout } = start(startScript(['sh', '-c', 'echo $PATH'], { cwd: '/' }));
    expect(stdout.split(':')[0]).toBe(dirname(process.execPath));
  });

  it('ends with 126 when the working directory does not exist', () => {
    expect(start(startScript(['true'], { cwd: '/does/not/exist' })).status).toBe(126);
  });

  it('becomes the command, so that a signal meets it and not a shell around it', () => {
    const { stdout } = start(`echo $$; ${startScript(['sh', '-c', 'echo $$'], { cwd: '/' })}`);
    const [before, after] = stdout.split('\n');
    expect(after).toBe(before);
  });
});
