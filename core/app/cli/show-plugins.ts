import { GatewayError } from '../../api/errors.ts';
import { inputJsonSchema, type JsonSchema } from '../../config/json-shape.ts';
import type { PluginDescriptor } from '../../plugins/descriptor.ts';
import type { PluginRegistry } from '../../plugins/registry.ts';
import { didYouMean } from '../../util/did-you-mean.ts';
import type { Settings } from '../settings.ts';
import { ExitCode } from './exit-code.ts';
import { installedPlugins } from './installed-plugins.ts';
import { printError } from './print-error.ts';
import { table } from './table.ts';
import type { Terminal } from './terminal.ts';

interface Output {
  readonly json?: boolean;
}

export async function listPlugins(settings: Settings, { json }: Output, terminal: Terminal): Promise<number> {
  const registry = await installedPlugins(settings);
  const plugins = await Promise.all(registry.list().map(facts));
  if (json) terminal.printJson(plugins);
  else {
    const rows = plugins.map(({ kind, name, origin, version, description }) => {
      return [kind, name, `${origin}${version ? ` ${version}` : ''}`, description ?? ''];
    });
    terminal.print(table(['KIND', 'NAME', 'FROM', 'DESCRIPTION'], rows));
    for (const spec of registry.undescribed) {
      terminal.say(`${spec}: a file without a manifest; its name is known once a disk uses it.`);
    }
  }
  return reportProblems(registry, terminal);
}

export async function describePlugin(
  name: string,
  settings: Settings,
  { json }: Output,
  terminal: Terminal,
): Promise<number> {
  const registry = await installedPlugins(settings);
  const plugins = registry.list().filter((plugin) => plugin.name === name);
  if (plugins.length === 0) throw unknownPlugin(name, registry);
  const described = await Promise.all(
    plugins.map(async (plugin) => ({ ...(await facts(plugin)), config: await configSchema(plugin) })),
  );
  if (json) terminal.printJson(described);
  else terminal.print(described.map((plugin) => describe(plugin, terminal)).join('\n\n'));
  return reportProblems(registry, terminal);
}

function reportProblems({ problems }: PluginRegistry, terminal: Terminal): number {
  if (problems.length === 0) return ExitCode.OK;
  printError(terminal, new AggregateError(problems));
  return ExitCode.USAGE;
}

type Facts = Pick<PluginDescriptor, 'kind' | 'name' | 'origin' | 'version' | 'apiVersion' | 'description'>;

async function facts(plugin: PluginDescriptor): Promise<Facts> {
  const { kind, name, origin, version, apiVersion } = plugin;
  // The built-in plugins have no manifest; they are our own code, which may be run.
  const description =
    plugin.description ?? (isBuiltIn(plugin) ? (await plugin.load()).description : undefined);
  return {
    kind,
    name,
    origin,
    apiVersion,
    ...(version === undefined ? {} : { version }),
    ...(description === undefined ? {} : { description }),
  };
}

async function configSchema(plugin: PluginDescriptor): Promise<JsonSchema | undefined> {
  if (plugin.schema) return plugin.schema();
  return isBuiltIn(plugin) ? inputJsonSchema((await plugin.load()).config) : undefined;
}

function isBuiltIn({ origin }: PluginDescriptor): boolean {
  return origin === 'built-in';
}

function describe(plugin: Facts & { config: JsonSchema | undefined }, terminal: Terminal): string {
  const { kind, name, origin, version, apiVersion, description, config } = plugin;
  const from = `${origin}${version ? ` ${version}` : ''}, plugin API ${apiVersion}`;
  const head = [`${terminal.style('bold', name)}  ${kind}`, from, ...(description ? [description] : [])];
  return [...head, ...(config ? ['', optionTable(config)] : [])].join('\n');
}

function optionTable(schema: JsonSchema): string {
  const required = new Set(Array.isArray(schema['required']) ? schema['required'] : []);
  const properties = Object.entries((schema['properties'] ?? {}) as Record<string, JsonSchema>);
  const rows = properties.map(([key, property]) => {
    const value = property['default'];
    const preset = required.has(key) ? 'required' : value === undefined ? '' : JSON.stringify(value);
    return [key, preset, String(property['description'] ?? '')];
  });
  return rows.length === 0 ? 'It takes no configuration.' : table(['KEY', 'DEFAULT', 'MEANING'], rows);
}

function unknownPlugin(name: string, registry: PluginRegistry): GatewayError {
  const names = registry.list().map((plugin) => plugin.name);
  const guess = didYouMean(name, names);
  return new GatewayError('plugin.unknown', `There is no plugin "${name}".`, {
    why: `Known: ${names.join(', ')}.`,
    fix: guess
      ? `Did you mean "${guess}"?`
      : 'Add the package that provides it to "plugins" in the configuration.',
  });
}
