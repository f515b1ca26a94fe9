import { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { addGatewayOptions, type GatewayOptions, settingsFrom } from '../gateway-options.ts';

export interface PluginOptions extends GatewayOptions {
  readonly json?: boolean;
}

const NOTES = `
What is said of plugins that the configuration lists comes from their manifests: no code of theirs is run.

Examples:
  blockgate plugin list
  blockgate plugin info s3
  blockgate plugin new ftp`;

const NEW_NOTES = `
It has a manifest, a schema, a device, the tests that blockgate has for every backend, and a README.

Examples:
  blockgate plugin new ftp
  blockgate plugin new ftp --dir ~/src`;

export function pluginCommand(ctx: CommandContext): Command {
  const list = new Command('list')
    .description('the built-in plugins and those that the configuration lists')
    .option('--json', 'a JSON array')
    .action(async (options: PluginOptions) => {
      const { listPlugins } = await import('../show-plugins.ts');
      ctx.exitCode = await listPlugins(settingsFrom(options, ctx.terminal), options, ctx.terminal);
    });
  const info = new Command('info')
    .description('one plugin: where it comes from and what its configuration takes')
    .argument('<name>', 'name of a backend, filter or frontend')
    .option('--json', 'a JSON array: plugins of different kinds may share a name')
    .action(async (name: string, options: PluginOptions) => {
      const { describePlugin } = await import('../show-plugins.ts');
      ctx.exitCode = await describePlugin(name, settingsFrom(options, ctx.terminal), options, ctx.terminal);
    });
  const create = new Command('new')
    .description('a package with a backend that works, to start from')
    .argument('<name>', 'name of the backend')
    .option('--dir <folder>', 'where to put it', '.')
    .addHelpText('after', NEW_NOTES)
    .action(async (name: string, { dir }: { readonly dir: string }) => {
      const { newPlugin } = await import('../new-plugin.ts');
      ctx.exitCode = await newPlugin(name, dir, ctx.terminal);
    });
  const command = new Command('plugin')
    .description('backends, filters and frontends that can be used')
    .addHelpText('after', NOTES);
  for (const child of [list, info]) command.addCommand(addGatewayOptions(child));
  return command.addCommand(create);
}
