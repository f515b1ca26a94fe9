import { z } from 'zod';
import type { JsonSchema } from './json-shape.ts';
import { backendUse, configSchema, filterUse, frontendUse } from './schema.ts';

/** The configuration of one plugin, for the schema of the whole file. */
export interface PluginSchema {
  readonly kind: 'backend' | 'filter' | 'frontend';
  readonly name: string;
  readonly description?: string;
  readonly schema: JsonSchema;
}

const KIND_OF = new Map<unknown, PluginSchema['kind']>([
  [backendUse, 'backend'],
  [filterUse, 'filter'],
  [frontendUse, 'frontend'],
]);

/**
 * The JSON Schema (draft 07, which editors know best) of plugins.json: core's own keys, and `if type is X then …` for
 * each plugin. A type that is not among them passes: its plugin may be installed elsewhere.
 */
export function buildJsonSchema(plugins: readonly PluginSchema[]): JsonSchema {
  const { $schema, ...core } = z.toJSONSchema(configSchema, {
    target: 'draft-07',
    io: 'input',
    override: ({ zodSchema, jsonSchema }) => {
      const kind = KIND_OF.get(zodSchema);
      if (kind) Object.assign(jsonSchema, useSchema(jsonSchema, ofKind(plugins, kind)));
    },
  });
  return { $schema, ...core, definitions: Object.fromEntries(plugins.map(definition)) };
}

/** The text of plugins.schema.json. */
export function jsonSchemaText(plugins: readonly PluginSchema[]): string {
  return `${JSON.stringify(buildJsonSchema(plugins), undefined, 2)}\n`;
}

function ofKind(plugins: readonly PluginSchema[], kind: PluginSchema['kind']): PluginSchema[] {
  return plugins.filter((plugin) => plugin.kind === kind);
}

/** `anyOf` lets editors offer the known names without refusing others. */
function useSchema(use: JsonSchema, plugins: readonly PluginSchema[]): JsonSchema {
  const properties = use['properties'] as Record<string, JsonSchema>;
  const { type: _, ...about } = properties['type']!;
  const names = plugins.map(({ name, description }) => ({
    const: name,
    ...(description && { description }),
  }));
  const branches = plugins.map((plugin) => ({
    if: {
      properties: { type: { const: plugin.name } },
      ...(about['default'] === plugin.name ? {} : { required: ['type'] }),
    },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    then: { $ref: `#/definitions/${definitionName(plugin)}` },
  }));
  return {
    properties: { ...properties, type: { ...about, anyOf: [...names, { type: 'string', minLength: 1 }] } },
    // JSON Schema forbids an empty allOf.
    ...(branches.length > 0 && { allOf: branches }),
  };
}

function definitionName({ kind, name }: PluginSchema): string {
  return `${kind}-${name}`;
}

function definition(plugin: PluginSchema): [string, JsonSchema] {
  const { $schema: _, ...schema } = plugin.schema;
  const name = definitionName(plugin);
  const described = { ...(plugin.description && { description: plugin.description }), ...schema };
  return [name, allowType(moveReferences(described, `#/definitions/${name}`))];
}

/** Plugins do not know of `type`; a schema that refuses unknown keys would refuse it. */
function allowType(schema: JsonSchema): JsonSchema {
  const changed: Record<string, unknown> = { ...schema };
  for (const word of ['anyOf', 'oneOf', 'allOf']) {
    if (Array.isArray(schema[word])) changed[word] = (schema[word] as JsonSchema[]).map(allowType);
  }
  if (schema['properties']) changed['properties'] = { type: {}, ...(schema['properties'] as JsonSchema) };
  else if (schema['additionalProperties'] === false) changed['properties'] = { type: {} };
  return changed;
}

/** References inside a plugin's schema start at its own root, which is now further down. */
function moveReferences(schema: JsonSchema, root: string): JsonSchema {
  return JSON.parse(JSON.stringify(schema), (key, value: unknown) =>
    key === '$ref' && typeof value === 'string' && value.startsWith('#') ? root + value.slice(1) : value,
  ) as JsonSchema;
}
