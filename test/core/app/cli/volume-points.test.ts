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
  JSON.stringify({ type: 's3', ...server.backend, prefix, ...more });

async function run(...args: string[]) {
  const { terminal, stdout, stderr } = fakeTerminal();
  const status = await runCli(['volume', ...args], terminal);
  return { status, stdout: stdout.text, stderr: stderr.text };
}

/** The disk, which is closed afterwards, and then a point. */
async function write(prefix: string, tag: number): Promise<void> {
  const { type: _, ...settings } = JSON.parse(target(prefix, { retention: '24h' }));
  const parsed = await s3.config['~standard'].validate(settings);
  if (parsed.issues) expect.fail('the configuration is wrong');
  await using device = await s3.open(parsed.value, context());
  await device.write!(0, [pattern(MIB, tag)], 0);
  await device.flush!(0);
}

describe('volume points', () => {
  it('lists times, which rollback, snapshot and clone take', async () => {
    expect(await run('create', target('a', { size: '16MiB' }))).toMatchObject({ status: 0 });
    await write('a', 1);
    const { stdout } = await run('points', target('a'));
    expect(stdout).toMatch(/^TIME +SIZE\n\d{4}-\d\d-\d\dT[\d:.]+Z {2}16 MiB\n$/);
    const [point] = JSON.parse((await run('points', target('a'), '--json')).stdout);
    expect(point).toEqual({ at: expect.any(String), size: 16 * MIB });
    expect((await run('snapshot', target('a'), 'then', '--at', point.at)).stdout).toContain(point.at);
    const clone = await run('clone', target('a'), target('b'), '--at', point.at);
    expect(clone).toMatchObject({ status: 0, stdout: expect.stringContaining('of "then" of a') });
    const back = await run('rollback', target('a'), '--at', point.at);
    expect(back).toMatchObject({ status: 0, stderr: expect.stringContaining(`as it was at ${point.at}`) });
    const early = await run('rollback', target('a'), '--at', '2h ago');
    expect(early).toMatchObject({ status: 1, stderr: expect.stringContaining('volume.no-point') });
    expect(early.stderr).toContain(`oldest point is of ${point.at}`);
  });

  it.each([
    [['rollback', 'disk0'], 'Either the name of a snapshot or --at'],
    [['rollback', 'disk0', 'one', '--at', '2h ago'], 'Either the name of a snapshot or --at'],
    [['clone', 'disk0', 'one'], 'Either the name of a snapshot or --at'],
    [['clone', 'disk0', 'one', 'disk1', '--at', '-2h'], 'Either the name of a snapshot or --at'],
    [['clone', 'disk0', '{}', 'disk1'], '"{}" is no name of a snapshot'],
    [['rollback', 'disk0', '--at', 'noon'], 'A time is as in'],
  ])('is refused as wrong usage: %j', async (args, message) => {
    expect(await run(...args)).toMatchObject({ status: 2, stderr: expect.stringContaining(message) });
  });

  it('says where a volume has none, because of its layout', async () => {
    const chunks = target('c', { size: '16MiB', chunkSize: '1MiB' });
    expect(await run('create', chunks)).toMatchObject({ status: 0 });
    for (const args of [['points'], ['rollback', '--at', '-2h']])
      expect(await run(args[0]!, chunks, ...args.slice(1))).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('volume.unsupported'),
      });
  });
});
