import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addStateDirOption } from '../gateway-options.ts';

export interface DestroyOptions {
  readonly stateDir: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

const NOTES = `
A device outlives the process that served it, so that "blockgate run" can go on with it: there is no command to adopt
one. This is for devices that nobody wants any more. One that is mounted or open is refused with status 4; one with
requests that wait for an answer cannot be destroyed: start its disk, which answers them, and stop it.

Examples:
  blockgate destroy                        every device that no process serves
  blockgate destroy disk0 --force`;

export function destroyCommand(ctx: CommandContext): Command {
  const command = new Command('destroy')
    .description('remove devices that a dead gateway left behind')
    .argument('[disks...]', 'disks whose devices to remove; all that no process serves when none is named')
    .option('--force', 'although somebody uses them')
    .option('--json', 'a JSON array of what was removed')
    .addHelpText('after', NOTES);
  return addStateDirOption(command).action(async (names: string[], options: DestroyOptions) => {
    const { destroyLeftovers } = await import('../destroy-leftovers.ts');
    ctx.exitCode = await destroyLeftovers(names, options, ctx.terminal);
  });
}
