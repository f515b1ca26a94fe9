import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addStateDirOption } from '../gateway-options.ts';

export interface StatusOptions {
  readonly stateDir: string;
  readonly json?: boolean;
}

const NOTES = `
States: starting, running, upgrading, restarting (its process died and is started again), stopping, stopped, dead (it
died and stays down; the log says why). Exit status 0 when every disk shown is running, 1 otherwise.

The delay of the event loop is how late the disk's process was for its own timers since it was asked last: for so long a
request may have waited for the processor.

Examples:
  blockgate status
  blockgate status disk0 --json | jq '.[].disks[].report.inFlight'`;

export function statusCommand(ctx: CommandContext): Command {
  const command = new Command('status')
    .description('how the disks of running gateways are')
    .argument('[disks...]', 'disks to show; all when none is named')
    .option('--json', 'a JSON array of gateways with their disks')
    .addHelpText('after', NOTES);
  return addStateDirOption(command).action(async (names: string[], options: StatusOptions) => {
    const { showStatus } = await import('../show-status.ts');
    ctx.exitCode = await showStatus(names, options, ctx.terminal);
  });
}
