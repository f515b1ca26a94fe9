import { DeleteObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import s3 from '../../../../backends/s3/index.ts';
import { runCli } from '../../../../core/app/cli/program.ts';
import { context, pattern } from '../../../backends/s3/harness.ts';
import { startS3, type TestS3 } from '../../../support/s3.ts';
import { fakeTerminal } from './fake-terminal.ts';

const MIB = 1024 * 1024;

let server: TestS3;
beforeAll(async () => {
  server = await startS3('the embedded server');
});
afterAll(() => server?.[Symbol.asyncDispose]());

const target = (prefix: string, more: Record<string, unknown> = {}): string =>
  JSON.stringify({ type: 's3', ...server.backend, prefix, size: '16MiB', ...more });

async function run(...args: string[]) {
  const { terminal, stdout, stderr } = fakeTerminal();
  const status = await runCli(['volume', ...args], terminal);
  return { status, stdout: stdout.text, stderr: stderr.text };
}

/** With a MiB at 4 MiB. Returns the key of the object that has it. */
async function written(prefix: string): Promise<string> {
  expect(await run('create', target(prefix))).toMatchObject({ status: 0 });
  const { type: _, ...settings } = JSON.parse(target(prefix));
  const parsed = await s3.config['~standard'].validate(settings);
  if (parsed.issues) expect.fail('the configuration is wrong');
  await using device = await s3.open(parsed.value, context());
  await device.write!(4 * MIB, [pattern(MIB, 1)], 0);
  await device.flush!(0);
  const listed = await server.client.send(
    new ListObjectsV2Command({ Bucket: server.bucket, Prefix: `${prefix}/log/` }),
  );
  return listed.Contents![0]!.Key!;
}

const put = (key: string, body: string) =>
  server.client.send(new PutObjectCommand({ Bucket: server.bucket, Key: key, Body: body }));

describe('volume check', () => {
  it('says of a sound volume what was looked at, with status 0', async () => {
    await written('sound');
    const { status, stdout } = await run('check', target('sound'), '--data');
    expect(status).toBe(0);
    expect(stdout).toContain('objects: 1');
    expect(stdout).toContain(`bytes of data: ${MIB}`);
    expect(stdout.trimEnd().endsWith(': sound')).toBe(true);
    expect((await run('check', target('sound'))).stdout).toContain('its data was not read (--data)');
  });

  it('shows what is damaged in a table, with status 3, and the same as JSON', async () => {
    const key = await written('damaged');
    await put(key, 'nothing of it is left');
    const { status, stdout } = await run('check', target('damaged'));
    expect(status).toBe(3);
    expect(stdout).toMatch(/^SEVERITY +WHAT +WHERE +AFFECTED BYTES +REPAIR\n/);
    expect(stdout).toContain(`${key}  -`);
    expect(stdout).toContain(': damaged, 2 errors\n');
    const json = await run('check', target('damaged'), '--json');
    expect(json.status).toBe(3);
    expect(JSON.parse(json.stdout)).toMatchObject({
      findings: [
        { severity: 'error', where: key, what: expect.stringContaining('it is damaged') },
        { severity: 'error', where: key, what: expect.stringContaining('cannot be replayed') },
      ],
    });
  });

  it('names the bytes of the disk, and of snapshots', async () => {
    const key = await written('kept');
    expect(await run('snapshot', target('kept'), 'first')).toMatchObject({ status: 0 });
    await server.client.send(new DeleteObjectCommand({ Bucket: server.bucket, Key: key }));
    const { stdout } = await run('check', target('kept'));
    expect(stdout).toContain(
      `it is missing  ${key}  4194304+1048576, 4194304+1048576 of snapshot "first"  -`,
    );
  });

  it('repairs when it is asked to', async () => {
    await written('littered');
    const stray = `littered/ckpt/${'0'.repeat(15)}1-${'0'.repeat(15)}1`;
    await put(stray, 'x');
    const found = await run('check', target('littered'));
    expect(found).toMatchObject({
      status: 0,
      stdout: expect.stringContaining(`${stray}  -               with --repair`),
    });
    const repaired = await run('check', target('littered'), '--repair', '--json');
    expect(JSON.parse(repaired.stdout).findings).toMatchObject([{ where: stray, repair: 'done' }]);
    expect(JSON.parse((await run('check', target('littered'), '--json')).stdout).findings).toEqual([]);
  });

  it('is for the layout log of s3 only', async () => {
    const chunk = target('chunks', { chunkSize: '64KiB' });
    await run('create', chunk);
    const refused = await run('check', chunk);
    expect(refused).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('Only volumes with the layout "log"'),
    });
    const file = await run('check', '{"type":"file","path":"/nonexistent/disk.img","size":"1MiB"}');
    expect(file).toMatchObject({ status: 1, stderr: expect.stringContaining('has nothing to check') });
  });
});
