import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { HostProcess } from '../../../core/vm/host-process.ts';

async function running(pid: string): Promise<boolean> {
  return await stat(`/proc/${pid}`).then(
    () => true,
    () => false,
  );
}

describe('HostProcess', () => {
  it('says how the process ended and what it printed', async () => {
    await using child = new HostProcess(['sh', '-c', 'echo oops >&2; exit 3']);
    expect(await child.ended).toBe('exited with status 3');
    expect(child.output).toBe('oops');
    expect(child.alive).toBe(false);
  });

  it('says so when there is no such program', async () => {
    await using child = new HostProcess(['/does/not/exist']);
    expect(await child.ended).toBe('exited with status 127');
    expect(child.output).toContain('/does/not/exist');
  });

  it('ends the process when disposed of', async () => {
    const child = new HostProcess(['sleep', '1000']);
    await child[Symbol.asyncDispose]();
    expect(await child.ended).toBe('was ended by SIGTERM');
  });

  it('does not survive a kill -9 of the process that started it', async () => {
    const url = new URL('../../../core/vm/host-process.ts', import.meta.url).href;
    const code = `
      const { HostProcess } = await import(${JSON.stringify(url)});
      const child = new HostProcess(['sh', '-c', 'echo $$; exec sleep 1000']);
      setInterval(() => child.output && console.log(child.output), 20);`;
    const owner = spawn(process.execPath, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [chunk] = (await once(owner.stdout, 'data')) as [Buffer];
    const pid = chunk.toString().split('\n')[0]!;
    expect(await running(pid)).toBe(true);
    owner.kill('SIGKILL');
    await expect.poll(() => running(pid), { timeout: 10_000 }).toBe(false);
  });
});
