import { relative, resolve } from 'node:path';
import { GatewayError } from '../../api/errors.ts';
import { ExitCode, Interrupted } from '../cli/exit-code.ts';
import type { Terminal } from '../cli/terminal.ts';
import { onTermination } from '../signals.ts';
import { DemoFolder } from './demo-folder.ts';
import { DemoRun } from './demo-run.ts';
import { DISK } from './demo-volume.ts';

export interface DemoOptions {
  /** Folder for the bucket. */
  readonly dir: string;
  /** Ends in a shell with the disk mounted. */
  readonly shell?: boolean;
}

/** From an empty bucket to a file system that survives a restart, in a minute. Returns the exit status. */
export async function runDemo(options: DemoOptions, terminal: Terminal): Promise<number> {
  if (options.shell && !process.stdin.isTTY) {
    throw new GatewayError('cli.usage', '--shell needs a terminal.', {
      fix: 'Leave --shell out, or run the demo in a terminal.',
    });
  }
  const interrupted = new AbortController();
  using _signals = onTermination((signal) => {
    if (!interrupted.signal.aborted) terminal.say(`${signal}: cleaning up …`);
    interrupted.abort(new Interrupted(signal));
  });
  const started = performance.now();
  terminal.say(terminal.tint('bold', 'An S3 bucket becomes a disk'));
  const folder = await DemoFolder.prepare(resolve(options.dir));
  let next: string;
  try {
    await using run = new DemoRun(folder, interrupted.signal, terminal);
    await run.prepare();
    await run.writeAndStop();
    await run.startAgainAndVerify();
    if (options.shell) await run.shell();
    const inventory = await run.inventory();
    terminal.say('');
    terminal.print(inventory);
    next = nextSteps(folder, run.port);
  } catch (error) {
    throw interrupted.signal.aborted ? interrupted.signal.reason : error;
  } finally {
    await folder.removeWork();
  }
  terminal.say(`\nDone in ${Math.round((performance.now() - started) / 1000)} s. Next:\n${next}`);
  return ExitCode.OK;
}

function nextSteps(folder: DemoFolder, port: number): string {
  const here = relative(process.cwd(), folder.path) || '.';
  return [
    'npm start -- --shell',
    '    the same, and then a shell with the disk mounted',
    `blockgate s3-server --data ${here} --port ${port}`,
    '    serves this bucket again …',
    `blockgate run -c ${here}/plugins.json ${DISK}`,
    '    … and this makes it a disk, where the kernel has VDUSE: blockgate doctor',
    'docs/configuration.md',
    '    a bucket and a plugins.json of your own',
  ]
    .map((line) => `  ${line}`)
    .join('\n');
}
