import { Command, CommanderError } from 'commander';
import { GatewayError } from '../../api/errors.ts';
import type { CommandContext } from './command-context.ts';
import { checkCommand } from './commands/check.ts';
import { demoCommand } from './commands/demo.ts';
import { destroyCommand } from './commands/destroy.ts';
import { detachCommand } from './commands/detach.ts';
import { doctorCommand } from './commands/doctor.ts';
import { pluginCommand } from './commands/plugin.ts';
import { resizeCommand } from './commands/resize.ts';
import { runCommand } from './commands/run.ts';
import { s3ServerCommand } from './commands/s3-server.ts';
import { schemaCommand } from './commands/schema.ts';
import { snapshotCommand } from './commands/snapshot.ts';
import { statusCommand } from './commands/status.ts';
import { upgradeCommand } from './commands/upgrade.ts';
import { volumeCommand } from './commands/volume.ts';
import { ExitCode, exitCodeOf, Interrupted } from './exit-code.ts';
import { packageVersion } from './package-folder.ts';
import { printError } from './print-error.ts';
import { Terminal } from './terminal.ts';

const EXAMPLES = `
Examples:
  blockgate check                          is plugins.json right, and what does each disk consist of?
  blockgate run                            start every disk; Ctrl-C stops them
  blockgate run disk0 -- sh -c 'mkfs.ext4 $BLOCKGATE_DEVICE'
                                           start one disk, run a command, stop it
  blockgate doctor                         can this machine do it?
  blockgate demo                           the whole thing on a bucket of its own, from mkfs to checksum

Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 findings, 4 in use, 128+n ended by signal n.`;

/** The command line with everything below it, for `runCli` and for the documentation. */
export function createProgram(ctx: CommandContext): Command {
  const program = new Command('blockgate')
    .description('Turns an S3 bucket, a file or any store with a plugin into a virtio disk on Linux.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'print the help of a command')
    .addHelpText('after', EXAMPLES)
    .configureHelp({ showGlobalOptions: false });
  const commands = [
    runCommand(ctx),
    statusCommand(ctx),
    detachCommand(ctx),
    upgradeCommand(ctx),
    resizeCommand(ctx),
    snapshotCommand(ctx),
    destroyCommand(ctx),
    checkCommand(ctx),
    doctorCommand(ctx),
    volumeCommand(ctx),
    schemaCommand(ctx),
    pluginCommand(ctx),
    demoCommand(ctx),
    s3ServerCommand(ctx),
  ];
  for (const command of commands) program.addCommand(command);
  prepare(program, ctx.terminal);
  return program;
}

/** Runs one command; the exit status is returned, errors are printed. */
export async function runCli(argv: readonly string[], terminal = new Terminal()): Promise<number> {
  const separator = argv.indexOf('--');
  const args = separator < 0 ? argv : argv.slice(0, separator);
  const captive = separator < 0 ? undefined : argv.slice(separator + 1);
  const ctx: CommandContext = { terminal, captive, exitCode: ExitCode.OK };
  const program = createProgram(ctx);
  try {
    if (args.length === 0) throw usage('No command given.', 'Run "blockgate --help" to see them.');
    if (captive && args[0] !== 'run') throw usage('Only "run" takes a command after "--".');
    await program.parseAsync(args, { from: 'user' });
    return ctx.exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.OK;
    const shown = error instanceof CommanderError ? fromCommander(error) : error;
    if (shown instanceof Interrupted) terminal.say(`Ended by ${shown.signal}.`);
    else printError(terminal, shown);
    return exitCodeOf(shown);
  }
}

/** Errors are thrown rather than printed, and help goes where the terminal says, in every command. */
function prepare(command: Command, terminal: Terminal): void {
  command.helpOption('-h, --help', 'print this help');
  command.exitOverride().configureOutput({
    writeOut: (text) => terminal.print(text.trimEnd()),
    writeErr: (text) => terminal.say(text.trimEnd()),
    outputError: () => {},
    getOutHelpWidth: () => terminal.pageWidth,
    getErrHelpWidth: () => terminal.pageWidth,
  });
  for (const child of command.commands) prepare(child, terminal);
}

/** `error: unknown command 'chekc'\n(Did you mean check?)` as an error of ours. */
function fromCommander(error: CommanderError): unknown {
  if (error.code === 'commander.help') return usage('A subcommand is missing.', 'See the list above.');
  const [first = '', hint] = error.message.replace(/^error: /, '').split('\n');
  const summary = `${first[0]?.toUpperCase() ?? ''}${first.slice(1).replace(/[.:]?$/, '.')}`;
  const fix = /^\(Did you mean (one of )?(.*)\?\)$/.exec(hint ?? '')?.[2];
  return usage(summary, fix ? `Did you mean "${fix}"?` : 'Run it with --help to see what it takes.');
}

function usage(summary: string, fix?: string): GatewayError {
  return new GatewayError('cli.usage', summary, fix === undefined ? {} : { fix });
}

/** From package.json, which lies two folders higher in `dist/` than in the source. */
