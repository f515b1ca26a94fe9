import { describe, expect, it } from 'vitest';
import { runCli } from '../../../../core/app/cli/program.ts';
import { fakeTerminal } from './fake-terminal.ts';
import { cli } from './run-cli.ts';

async function run(...args: string[]) {
  const { terminal, stdout, stderr } = fakeTerminal();
  const status = await runCli(args, terminal);
  return { status, stdout: stdout.text, stderr: stderr.text };
}

describe('the command line', () => {
  it('prints its version on standard output', async () => {
    expect(await run('--version')).toEqual({ status: 0, stdout: '0.1.0\n', stderr: '' });
  });

  it('prints its help on standard output with status 0', async () => {
    const { status, stdout, stderr } = await run('--help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('Usage: blockgate');
    expect(stdout).toContain('Examples:');
  });

  it('loads nothing heavy for that', async () => {
    const hook = `import { registerHooks } from 'node:module';
      registerHooks({ load: (url, context, next) => {
        if (/node_modules\\/(inversify|zod|pino|koffi|@aws-sdk)\\//.test(url)) process.stderr.write(url);
        return next(url, context);
      } });`;
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` };
    for (const args of [['--version'], ['--help'], ['run', '--help']]) {
      expect(await cli(args, { env })).toMatchObject({ status: 0, stderr: '' });
    }
  });

  it.each([
    [['chekc'], "Unknown command 'chekc'.", 'Did you mean "check"?'],
    [['run', '--keep-goign'], "Unknown option '--keep-goign'.", 'Did you mean "--keep-going"?'],
    [['volume', 'inof', 'x'], "Unknown command 'inof'.", 'Did you mean "info"?'],
    [['run', '--grace', 'soon'], '0 to 86400', '--help'],
    [['volume', 'resize', 'disk0', 'big'], 'It has to be a size such as 20GiB.', '--help'],
    [['s3-server', '--port', '99999'], 'a number from 0 to 65535', '--help'],
    [['run', '--log-level', 'loud'], 'Allowed choices are silent, error, warn, info, debug.', '--help'],
    [['schema', '--write', '--stdout'], 'cannot be used with', '--help'],
    [[], 'No command given.', 'blockgate --help'],
    [['volume'], 'A subcommand is missing.', 'See the list above.'],
    [['check', '--', 'ls'], 'Only "run" takes a command after "--".', ''],
  ])('explains %j with status 2 and a hint', async (args, summary, hint) => {
    const { status, stdout, stderr } = await run(...args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(summary);
    expect(stderr).toContain(hint);
    expect(stderr).toContain('Code   cli.usage');
  });
});
