import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addStateDirOption } from '../gateway-options.ts';

export interface DetachOptions {
  readonly stateDir: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

const NOTES = `
Lets requests in flight finish, detaches the device, flushes the store and closes it; the gateway goes on with its
other disks, and ends with the last one. While the disk is mounted or open it is refused with status 4, saying by whom.

Examples:
  blockgate detach disk0
  blockgate detach disk0 --force`;

export function detachCommand(ctx: CommandContext): Command {
  const command = new Command('detach')
    .description('stop one disk of a running gateway')
    .argument('<disk>', 'disk of a running gateway')
    .option('--force', 'take it away from whoever uses it; what they have not written is lost')
    .option('--json', 'one JSON object with those who used the disk')
    .addHelpText('after', NOTES);
  return addStateDirOption(command).action(async (disk: string, options: DetachOptions) => {
    const { detachDisk } = await import('../operate-disk.ts');
    await detachDisk(disk, options, ctx.terminal);
  });
}
