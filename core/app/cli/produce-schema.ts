import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { jsonSchemaText } from '../../config/json-schema.ts';
import type { Settings } from '../settings.ts';
import { ExitCode } from './exit-code.ts';
import { installedPlugins } from './installed-plugins.ts';
import { printError } from './print-error.ts';
import type { Terminal } from './terminal.ts';

/** Prints or writes the JSON Schema of plugins.json. Returns the exit status. */
export async function produceSchema(
  settings: Settings,
  { write = false }: { readonly write?: boolean },
  terminal: Terminal,
): Promise<number> {
  const registry = await installedPlugins(settings);
  const text = jsonSchemaText(await registry.configSchemas());
  if (registry.problems.length > 0) printError(terminal, new AggregateError(registry.problems));
  if (!write) {
    terminal.print(text.trimEnd());
    return registry.problems.length > 0 ? ExitCode.USAGE : ExitCode.OK;
  }
  // A schema without some of the plugins would call their configuration unchecked: better the old one.
  if (registry.problems.length > 0) return ExitCode.USAGE;
  const file = join(dirname(settings.configFile), 'plugins.schema.json');
  await writeFile(file, text);
  terminal.say(`${file} written`);
  return ExitCode.OK;
}
