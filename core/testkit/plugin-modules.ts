import { fileURLToPath } from 'node:url';
import type { BackendPlugin } from '../api/backend.ts';
import type { FilterPlugin } from '../api/filter.ts';
import type { ConfigSchema } from '../api/schema.ts';
import { importPlugin } from '../plugins/loader.ts';
import { anyPluginOf } from '../plugins/shape.ts';

/** Imports the module that a manifest would name, as a gateway does. */
export async function loadBackend(entry: string | URL): Promise<BackendPlugin> {
  const plugin = await load(entry);
  if (plugin.kind !== 'backend') throw new Error(`${entry} is a ${plugin.kind}, not a backend`);
  return plugin;
}

export async function loadFilter(entry: string | URL): Promise<FilterPlugin> {
  const plugin = await load(entry);
  if (plugin.kind !== 'filter') throw new Error(`${entry} is a ${plugin.kind}, not a filter`);
  return plugin;
}

async function load(entry: string | URL): Promise<ReturnType<typeof anyPluginOf>> {
  const file = fileURLToPath(entry);
  const where = { file };
  return anyPluginOf(await importPlugin(file, `plugin ${file}`, where), `plugin ${file}`, where);
}

/** The configuration as `plugins.json` has it, checked and completed by the plugin's schema. */
export async function checkedConfig(schema: ConfigSchema<unknown>, config: unknown): Promise<unknown> {
  const result = await schema['~standard'].validate(config);
  if (result.issues === undefined) return result.value;
  const problems = result.issues.map(
    ({ message, path }) => `${path?.map(String).join('.') ?? ''}: ${message}`,
  );
  throw new Error(`the configuration of the test is refused: ${problems.join('; ')}`);
}
