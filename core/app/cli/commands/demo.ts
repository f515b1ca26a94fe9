import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';

export interface DemoOptions {
  readonly dir: string;
  readonly shell?: boolean;
}

const NOTES = `
Starts an S3 server on this machine, makes a volume in a bucket of it, serves the volume as a disk, makes a file system
on the disk, writes files, stops everything, starts again from the bucket alone, and compares every byte. Where this
kernel has no VDUSE, or this user may not use it, the disk is served in a small virtual machine.

Examples:
  npm start
  npm start -- --shell                     leaves a shell with the disk mounted
  blockgate demo --dir /srv/demo`;

export function demoCommand(ctx: CommandContext): Command {
  return new Command('demo')
    .description('an S3 bucket becomes a disk: from nothing to a file system that survives a restart')
    .option('--dir <folder>', 'where the bucket lies afterwards', '.blockgate/demo')
    .option('--shell', 'stay in a shell with the disk mounted; leaving it ends the demo')
    .addHelpText('after', NOTES)
    .action(async (options: DemoOptions) => {
      const { runDemo } = await import('../../demo/demo.ts');
      ctx.exitCode = await runDemo(options, ctx.terminal);
    });
}
