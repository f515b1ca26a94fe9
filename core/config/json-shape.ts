import type { ConfigSchema } from '../api/schema.ts';
import type { Path } from './pointer.ts';

/** A JSON Schema document, or a part of one. */
export type JsonSchema = { readonly [key: string]: unknown };

/** The JSON Schema of what a plugin takes; undefined when its validator cannot say. */
export function inputJsonSchema(schema: ConfigSchema<unknown>): JsonSchema | undefined {
  try {
    return schema['~standard'].jsonSchema?.input({ target: 'draft-07' });
  } catch {
    // Standard JSON Schema lets a validator refuse what JSON Schema cannot express.
    return undefined;
  }
}

/** The keys that the schema knows in the object at `path`, whichever branch of a union it takes. */
export function keysAt(schema: JsonSchema | undefined, path: Path): string[] {
  let here = branches(schema);
  for (const segment of path) {
    here = here.flatMap((branch) => {
      const items = typeof segment === 'number' ? branch['items'] : undefined;
      const property = asObject(asObject(branch['properties'])?.[String(segment)]);
      return branches(property ?? asObject(items) ?? asObject(branch['additionalProperties']));
    });
  }
  return [...new Set(here.flatMap((branch) => Object.keys(asObject(branch['properties']) ?? {})))];
}

function branches(schema: JsonSchema | undefined): JsonSchema[] {
  if (!schema) return [];
  const inner = ['anyOf', 'oneOf', 'allOf'].flatMap((word) => (schema[word] ?? []) as JsonSchema[]);
  return [schema, ...inner.flatMap(branches)];
}

function asObject(value: unknown): JsonSchema | undefined {
  return typeof value === 'object' && value !== null ? (value as JsonSchema) : undefined;
}
