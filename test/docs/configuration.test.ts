import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { jsonSchemaText, type PluginSchema } from '../../core/config/json-schema.ts';
import { inputJsonSchema, type JsonSchema } from '../../core/config/json-shape.ts';
import { inspectConfig } from '../../core/config/load.ts';
import { configSchema } from '../../core/config/schema.ts';
import { PluginRegistry } from '../../core/plugins/registry.ts';
import { keyTable } from './key-table.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const schemas = await PluginRegistry.builtIn().configSchemas();

/** The text with what stands between the markers of this name replaced. */
function withGenerated(text: string, name: string, content: string): string {
  const marker = new RegExp(`(<!-- generated: ${name} -->\n)[\\s\\S]*?(<!-- /generated -->)`);
  expect(text).toMatch(marker);
  return text.replace(marker, (_, start, end) => `${start}\n${content}\n\n${end}`);
}

function coreTables(): string {
  const core = inputJsonSchema(configSchema)!;
  const disks = (core['properties'] as Record<string, JsonSchema>)['disks']!;
  const disk = { ...(disks['additionalProperties'] as JsonSchema) };
  return `${keyTable(core)}\n\nEach of \`disks\`:\n\n${keyTable(disk)}`;
}

function pluginTables(): string {
  const order = ['backend', 'filter', 'frontend'];
  return [...schemas]
    .sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))
    .map(({ kind, name, description, schema }: PluginSchema) => {
      return `## The ${kind} \`${name}\`\n\n${description}\n\n${keyTable(schema)}`;
    })
    .join('\n\n');
}

describe('docs/configuration.md', () => {
  it('lists the keys that the schemas have', async () => {
    const page = withGenerated(read('docs/configuration.md'), 'core', coreTables());
    const whole = withGenerated(page, 'plugins', pluginTables());
    await expect(whole).toMatchFileSnapshot(join(ROOT, 'docs/configuration.md'));
  });
});

describe('plugins.schema.json', () => {
  it('is up to date (npm run schema)', async () => {
    await expect(jsonSchemaText(schemas)).toMatchFileSnapshot(join(ROOT, 'plugins.schema.json'));
  });

  it.each(['plugins.json', ...globSync('examples/*/plugins.json', { cwd: ROOT })])('accepts %s', (file) => {
    const validate = new Ajv({ strict: false, validateFormats: false }).compile(
      JSON.parse(read('plugins.schema.json')) as JsonSchema,
    );
    validate(parse(read(file)));
    expect(validate.errors).toBeNull();
  });
});

describe('plugins.json', () => {
  it('is a configuration without problems', async () => {
    const { config, problems } = await inspectConfig(join(ROOT, 'plugins.json'));
    expect(problems).toEqual([]);
    const registry = await PluginRegistry.load(config!);
    for (const disk of config!.disks.values()) await registry.prepareDisk(disk);
  });
});
