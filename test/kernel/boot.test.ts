import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runInVm, VmSession } from '../../core/vm/vm.ts';
import { tempFolder } from '../support/temp-folder.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const progress = (line: string): boolean => process.stderr.write(`vm: ${line}\n`);

/** What the VMs of process `pid` have on the host: their folders, and their processes, whose arguments name these. */
function leftovers(pid: number | undefined): string[] {
  const prefix = `blockgate-vm-${pid}-`;
  const folders = readdirSync(tmpdir()).filter((name) => name.startsWith(prefix));
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return ''; // It ended while we looked.
      }
    })
    .filter((command) => command.includes(prefix));
  return [...folders, ...processes];
}

describe('a session in the test VM', () => {
  let session: VmSession;
  beforeAll(async () => {
    session = await VmSession.start({ onProgress: progress, disks: [{ sizeMiB: 64 }] });
  });
  afterAll(async () => {
    await session.stop();
    expect(leftovers(process.pid)).toEqual([]);
  });

  it('runs the 6.12 kernel with VDUSE', async () => {
    const { exitCode, stdout } = await session.run(
      'set -e; uname -r; modprobe -a vduse virtio_vdpa; stat -c %F /dev/vduse/control',
    );
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^6\.12\.\d+.*-cloud-amd64\ncharacter special file\n$/);
  });

  it('has the project and the Node.js that runs this test', async () => {
    const { stdout, stderr } = await session.run(['node', 'core/vm/main.ts', '--help'], { cwd: ROOT });
    expect(stderr).toBe('');
    expect(stdout).toContain('npm run vm');
    expect((await session.run(['node', '--version'])).stdout).toBe(`${process.version}\n`);
  });

  it('brings back the exit status, stdout and stderr, each by itself', async () => {
    const { exitCode, stdout, stderr, timedOut } = await session.run(
      'echo out; echo err >/dev/stderr; exit 7',
    );
    expect({ exitCode, stdout, stderr, timedOut }).toEqual({
      exitCode: 7,
      stdout: 'out\n',
      stderr: 'err\n',
      timedOut: false,
    });
  });

  it('reports lines while the script runs', async () => {
    const seen: string[] = [];
    await session.run('echo first; until [ -e "$VM_RESULTS/seen" ]; do sleep 0.05; done; echo last', {
      onOutput: (line) => {
        seen.push(line);
        // The script goes on only after its first line has arrived here.
        if (line === 'first') spawnSync('touch', [join(session.results, 'seen')]);
      },
      timeoutMs: 60_000,
    });
    expect(seen).toEqual(['first', 'last']);
  });

  it('loses nothing of a large output', async () => {
    const { stdout } = await session.run('seq 1 200000');
    expect(stdout.split('\n').length).toBe(200_001);
    expect(stdout.endsWith('199999\n200000\n')).toBe(true);
  });

  it('brings back files', async () => {
    await session.run('head -c 1000000 /dev/zero | tr "\\0" x >"$VM_RESULTS/big"');
    expect(readFileSync(join(session.results, 'big'), 'utf8')).toBe('x'.repeat(1_000_000));
  });

  it('may write anywhere without the host noticing', async () => {
    const file = join(ROOT, 'written-in-the-vm');
    const { stdout } = await session.run(`echo hi >${file}; rm /etc/hostname; cat ${file}; ls /etc/hostname`);
    expect(stdout).toBe('hi\n');
    expect(readdirSync(ROOT)).not.toContain('written-in-the-vm');
    expect(readdirSync('/etc')).toContain('hostname');
  });

  it("cannot write to the host's root even below its overlay", async () => {
    const { exitCode, stderr } = await session.run(
      'mkdir /tmp/lower && mount -t virtiofs -o rw root /tmp/lower && touch /tmp/lower/etc/written-in-the-vm',
    );
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('Read-only file system');
    expect(readdirSync('/etc')).not.toContain('written-in-the-vm');
  });

  it('has the scratch disks it was given', async () => {
    const { stdout } = await session.run('set -e; mkfs.ext4 -q /dev/vda; blockdev --getsize64 /dev/vda');
    expect(stdout).toBe(`${64 * 2 ** 20}\n`);
  });

  it("reaches a server on the host's loopback", async () => {
    const server = createServer((_, response) => response.end('hello from the host'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const script = `console.log(await (await fetch('http://10.0.2.2:${port}/')).text())`;
    const { stdout } = await session.run(['node', '--input-type=module', '-e', script]);
    server.close();
    expect(stdout).toBe('hello from the host\n');
  });

  it('keeps what a script leaves in the background for the next one, without its output', async () => {
    const first = await session.run('(while sleep 0.2; do echo noise; done) & echo $!');
    const pid = first.stdout.trim();
    const second = await session.run(`kill -0 ${pid} && echo alive && kill ${pid}`);
    expect(first.stdout).toBe(`${pid}\n`);
    expect(second.stdout).toBe('alive\n');
  });

  it('stops a script that takes too long, with its children, and goes on', async () => {
    const slow = await session.run('echo before; sleep 1001 & trap "" TERM; while :; do sleep 1; done', {
      timeoutMs: 3_000,
    });
    expect(slow).toMatchObject({ timedOut: true, exitCode: 128 + 9, stdout: 'before\n' });
    const { stdout } = await session.run('pgrep -x -f "sleep 1001"; echo still here');
    expect(stdout).toBe('still here\n');
  });

  it('runs scripts side by side', async () => {
    const pairs = await Promise.all([
      session.run('until [ -e /tmp/b ]; do sleep 0.05; done; touch /tmp/a; echo a'),
      session.run('touch /tmp/b; until [ -e /tmp/a ]; do sleep 0.05; done; echo b'),
    ]);
    expect(pairs.map(({ stdout }) => stdout)).toEqual(['a\n', 'b\n']);
  });
});

describe('a VM that ends before its time', () => {
  it('says how, with the end of the console, when the kernel panics', async () => {
    await using session = await VmSession.start({ onProgress: progress });
    const crash = session.run('echo c >/proc/sysrq-trigger; sleep 1000');
    await expect(crash).rejects.toMatchObject({
      code: 'vm.died',
      why: expect.stringContaining('Kernel panic - not syncing: sysrq triggered crash'),
    });
    await expect(session.run('true')).rejects.toMatchObject({ code: 'vm.died' });
  });

  it('leaves nothing on the host when aborted', async () => {
    const controller = new AbortController();
    const run = runInVm({
      script: 'echo started; sleep 1000',
      onOutput: () => controller.abort(new Error('enough')),
      signal: controller.signal,
      onProgress: progress,
    });
    await expect(run).rejects.toThrow('enough');
    expect(leftovers(process.pid)).toEqual([]);
  });

  it('says what the guest did when booting takes too long', async () => {
    const start = VmSession.start({ bootTimeoutMs: 100, onProgress: progress });
    await expect(start).rejects.toMatchObject({
      code: 'vm.boot-failed',
      message: 'The test VM did not boot within 0.1 s.',
    });
    expect(leftovers(process.pid)).toEqual([]);
  });
});

describe('npm run vm', () => {
  const launcher = [join(ROOT, 'core/vm/main.ts')];

  it("exits with the command's status and passes its output and files on", () => {
    using folder = tempFolder();
    const command = ['sh', '-c', 'echo out; echo err >&2; echo file >$VM_RESULTS/file; exit 7'];
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...launcher, '--cpus', '1', '--memory', '1024', '--results', folder.path, '--', ...command],
      { encoding: 'utf8' },
    );
    expect({ status, stdout }).toEqual({ status: 7, stdout: 'out\n' });
    expect(stderr).toContain('err\n');
    expect(readFileSync(folder.file('file'), 'utf8')).toBe('file\n');
  });

  it('leaves no process behind when it is killed', async () => {
    const child = spawn(process.execPath, [...launcher, '--', 'sh', '-c', 'echo started; sleep 1000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    expect(leftovers(child.pid).length).toBeGreaterThan(1);
    child.kill('SIGKILL');
    // The folder stays until the next VM starts; here we look for processes.
    const processes = (): string[] => leftovers(child.pid).filter((name) => name.includes(' '));
    await expect.poll(processes, { timeout: 10_000 }).toEqual([]);
  });

  it('gives a shell on the terminal', () => {
    // script(1) runs it on a pseudo terminal and types what comes on its stdin.
    const { status, stdout } = spawnSync(
      'script',
      ['--quiet', '--return', '--command', `${process.execPath} ${launcher.join(' ')} --shell`, '/dev/null'],
      { encoding: 'utf8', input: 'tty; echo $((40 + 2)) blocks; exit 5\n' },
    );
    expect(stdout).toContain('/dev/hvc0');
    expect(stdout).toContain('42 blocks');
    expect(status).toBe(5);
  });
});
