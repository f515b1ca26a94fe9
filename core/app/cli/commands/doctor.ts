import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addGatewayOptions, type GatewayOptions, settingsFrom } from '../gateway-options.ts';

export interface DoctorOptions extends GatewayOptions {
  readonly json?: boolean;
}

const NOTES = `
Looks at Node, the kernel and its modules, permissions and limits, and at the store of each disk where there is a
configuration. Changes nothing. Exit status 3 when something has to be fixed.

Examples:
  sudo blockgate doctor
  blockgate doctor --json | jq '.findings[] | select(.severity == "error")'`;

export function doctorCommand(ctx: CommandContext): Command {
  const command = new Command('doctor')
    .description('find out whether this machine can run the disks, and what to do where it cannot')
    .option('--json', 'one JSON object with all findings')
    .addHelpText('after', NOTES);
  return addGatewayOptions(command).action(async (options: DoctorOptions) => {
    const { diagnose } = await import('../diagnose.ts');
    ctx.exitCode = await diagnose(settingsFrom(options, ctx.terminal), options, ctx.terminal);
  });
}
