import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addGatewayOptions, type GatewayOptions, settingsFrom } from '../gateway-options.ts';

export interface CheckOptions extends GatewayOptions {
  readonly open?: boolean;
  readonly json?: boolean;
}

const NOTES = `
Nothing is opened, created or changed: what a store can do is known only with --open, which opens it for reading.

Examples:
  blockgate check
  blockgate check --json | jq '.disks[].name'
  blockgate check --open disk0`;

export function checkCommand(ctx: CommandContext): Command {
  const command = new Command('check')
    .description('find every mistake in the configuration, and show what each disk consists of')
    .argument('[disks...]', 'disks of the configuration; all when none is named')
    .option('--open', 'open the stores for reading, to show what they can do')
    .option('--json', 'one JSON object with disks and problems')
    .addHelpText('after', NOTES);
  return addGatewayOptions(command).action(async (names: string[], options: CheckOptions) => {
    const { checkDisks } = await import('../check-disks.ts');
    const settings = settingsFrom(options, ctx.terminal);
    ctx.exitCode = await checkDisks(settings, { ...options, names }, ctx.terminal);
  });
}
