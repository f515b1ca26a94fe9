import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addStateDirOption } from '../gateway-options.ts';

export interface UpgradeOptions {
  readonly stateDir: string;
  readonly json?: boolean;
}

const NOTES = `
Starts a process with the code that is installed now. When it has loaded everything, the old process takes no more
requests, finishes those in flight, flushes the store and ends, and the new one goes on with the same device: whoever
uses the disk waits for a moment and notices nothing else. When the new code cannot be loaded, the old process goes on.
When it cannot serve the disk, it is started again and again until it can, as after a crash.

The configuration stays the one that the gateway was started with.

Examples:
  blockgate upgrade disk0`;

export function upgradeCommand(ctx: CommandContext): Command {
  const command = new Command('upgrade')
    .description('have a new process, with the code installed now, serve a disk in use')
    .argument('<disk>', 'disk of a running gateway')
    .option('--json', 'one JSON object with the time for which I/O was paused')
    .addHelpText('after', NOTES);
  return addStateDirOption(command).action(async (disk: string, options: UpgradeOptions) => {
    const { upgradeDisk } = await import('../operate-disk.ts');
    await upgradeDisk(disk, options, ctx.terminal);
  });
}
