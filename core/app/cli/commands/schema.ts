import { Command, Option } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addGatewayOptions, type GatewayOptions, settingsFrom } from '../gateway-options.ts';

export interface SchemaOptions extends GatewayOptions {
  readonly write?: boolean;
  readonly stdout?: boolean;
}

const NOTES = `
Editors complete and check plugins.json by it: name it as "$schema". The one that comes with blockgate knows the
built-in plugins; this command adds those that the configuration lists, for which it runs their code.

Examples:
  blockgate schema --write
  blockgate schema | jq '.definitions | keys'`;

export function schemaCommand(ctx: CommandContext): Command {
  const command = new Command('schema')
    .description('the JSON Schema of plugins.json, installed plugins included')
    .addOption(
      new Option('--write', 'write plugins.schema.json beside the configuration').conflicts('stdout'),
    )
    .option('--stdout', 'print it (the default)')
    .addHelpText('after', NOTES);
  return addGatewayOptions(command).action(async (options: SchemaOptions) => {
    const { produceSchema } = await import('../produce-schema.ts');
    ctx.exitCode = await produceSchema(settingsFrom(options, ctx.terminal), options, ctx.terminal);
  });
}
