import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCli } from '../../../../core/app/cli/program.ts';
import { eventually, Rig } from '../rig.ts';
import { fakeTerminal } from './fake-terminal.ts';
import { CliProcess } from './run-cli.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await Rig.make();
});
afterEach(() => rig[Symbol.asyncDispose]());

async function run(...args: string[]) {
  const { terminal, stdout, stderr } = fakeTerminal();
  const status = await runCli([...args, '-c', rig.configFile], terminal);
  return { status, stdout: stdout.text, stderr: stderr.text };
}

describe('volume', () => {
  it('gives a new key to volumes that have one, written as JSON', async () => {
    const refused = await run('volume', 'rekey', file(), '{"keyFile":"new"}');
    expect(refused.stderr).toContain('has no keys');
    expect((await run('volume', 'rekey', file(), 'new')).stderr).toContain('It has to be JSON.');
  });

  const file = () => JSON.stringify({ type: 'file', path: rig.path('disk.img'), size: '1MiB' });

  it('creates, shows and grows a volume that is given as JSON', async () => {
    expect(await run('volume', 'create', file())).toMatchObject({ status: 0 });
    const info = await run('volume', 'info', file(), '--json');
    expect(JSON.parse(info.stdout)).toMatchObject({ size: 1 << 20 });
    const grown = await run('volume', 'resize', file(), '2MiB', '--json');
    expect(JSON.parse(grown.stdout)).toMatchObject({ size: 2 << 20 });
  });

  it('deletes nothing without a yes', async () => {
    await run('volume', 'create', file());
    const refused = await run('volume', 'delete', file());
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain('Add --yes if it is meant to go.');
    expect((await readFile(rig.path('disk.img'))).length).toBe(1 << 20);
    expect(await run('volume', 'delete', file(), '--yes')).toMatchObject({ status: 0 });
    await expect(readFile(rig.path('disk.img'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('says when a backend has no volumes', async () => {
    const { status, stderr } = await run('volume', 'info', 'disk0');
    expect(status).toBe(1);
    expect(stderr).toContain('✖ Backend "memory" of disk0 has no volumes to work on.');
  });

  it('refuses an unknown disk and a wrong backend with status 2', async () => {
    expect(await run('volume', 'info', 'disk1')).toMatchObject({ status: 2 });
    expect(await run('volume', 'info', '{"type":"fiel"}')).toMatchObject({ status: 2 });
  });
});

describe('plugin', () => {
  it('lists what is built in, and files that nobody has run', async () => {
    const { status, stdout, stderr } = await run('plugin', 'list');
    expect(status).toBe(0);
    for (const name of ['file', 'memory', 's3', 'vduse'])
      expect(stdout).toMatch(new RegExp(` ${name} +built-in`));
    expect(stderr).toContain('window.ts: a file without a manifest');
  });

  it('lists the same as JSON', async () => {
    const { stdout } = await run('plugin', 'list', '--json');
    const plugins = JSON.parse(stdout) as { kind: string; name: string }[];
    expect(plugins).toContainEqual(
      expect.objectContaining({ kind: 'backend', name: 's3', origin: 'built-in' }),
    );
  });

  it('describes the configuration of one', async () => {
    const { stdout } = await run('plugin', 'info', 'memory');
    expect(stdout).toContain('memory  backend');
    expect(stdout).toMatch(/^size +required +\S/m);
  });

  it('suggests the nearest name', async () => {
    const { status, stderr } = await run('plugin', 'info', 'memroy');
    expect(status).toBe(2);
    expect(stderr).toContain('Did you mean "memory"?');
  });
});

describe('schema', () => {
  it('prints the schema with the plugins of the configuration in it', async () => {
    const { status, stdout } = await run('schema');
    expect(status).toBe(0);
    expect(Object.keys(JSON.parse(stdout).definitions)).toEqual(
      expect.arrayContaining(['backend-file', 'backend-memory', 'backend-s3', 'frontend-vduse']),
    );
  });

  it('writes it beside the configuration', async () => {
    expect(await run('schema', '--write')).toMatchObject({ status: 0, stdout: '' });
    const written = await readFile(rig.path('plugins.schema.json'), 'utf8');
    expect(`${written}`).toBe((await run('schema')).stdout);
  });
});

describe('doctor', () => {
  it('reports findings with their fixes, as JSON too, and changes nothing', async () => {
    const { status, stdout } = await run('doctor', '--json');
    const { findings } = JSON.parse(stdout) as { findings: { subject: string; severity: string }[] };
    expect(findings).toContainEqual({
      subject: 'machine',
      severity: 'ok',
      summary: `Node ${process.versions.node}`,
    });
    const hasError = findings.some(({ severity }) => severity === 'error');
    expect(status).toBe(hasError ? 3 : 0);
    expect(await rig.journal()).toEqual([]);
  });

  it('finds mistakes in the configuration', async () => {
    const { status, stdout } = await run('doctor', '--set', 'disks.disk0.backend.size=tiny');
    expect(status).toBe(3);
    expect(stdout).toMatch(/✖ .*tiny/);
  });
});

describe('s3-server', () => {
  it('says where it listens, keeps its keys, makes buckets, and ends with status 0', async () => {
    const args = ['s3-server', '--data', rig.path('s3'), '--port', '0', '--bucket', 'disks', '--json'];
    const server = new CliProcess(args, { env: { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' } });
    await eventually(() => server.stdout.includes('\n'));
    const { endpoint, accessKeyId } = JSON.parse(server.stdout);
    expect(endpoint).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(await readFile(rig.path('s3/keys/access-key-id'), 'utf8')).toBe(`${accessKeyId}\n`);
    expect((await fetch(`${endpoint}/disks`)).status).toBe(403);
    server.kill('SIGTERM');
    expect(await server.ended).toMatchObject({ status: 0 });
  });

  it('wants both keys or neither', async () => {
    const args = ['s3-server', '--data', rig.path('s3'), '--port', '0'];
    const env = { AWS_ACCESS_KEY_ID: 'dev', AWS_SECRET_ACCESS_KEY: '' };
    const result = await new CliProcess(args, { env }).ended;
    expect(result.status).toBe(2);
    expect(result.stderr).toContain('✖ AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not.');
  });
});
