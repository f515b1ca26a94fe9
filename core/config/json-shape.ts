import type { ConfigSchema } from '../api/schema.ts';
import { didYouMean } from '../util/did-you-mean.ts';
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
  return [
    ...new Set(
      schemasAt(schema, path).flatMap((branch) => Object.keys(asObject(branch['properties']) ?? {})),
    ),
  ];
}

/** What to write at `path`, as a sentence; `value` is what stands there now. */
export function adviceFor(schema: JsonSchema | undefined, path: Path, value: unknown): string | undefined {
  const here = schemasAt(schema, path);
  const choices = choicesOf(here);
  if (choices.length > 0) {
    const near = typeof value === 'string' ? didYouMean(value, choices.map(String)) : undefined;
    if (near !== undefined) return `Did you mean ${JSON.stringify(near)}?`;
    return `Write ${choices.map((choice) => JSON.stringify(choice)).join(' or ')}.`;
  }
  const example = exampleAt(schema, path);
  if (example !== undefined) return `Write for example ${example}.`;
  const type = here.map((branch) => branch['type']).find((name) => typeof name === 'string');
  return typeof type === 'string' ? ADVICE[type] : undefined;
}

/** A value that would do at `path`, as JSON. */
export function exampleAt(schema: JsonSchema | undefined, path: Path): string | undefined {
  const here = schemasAt(schema, path);
  const examples = here.flatMap((branch) =>
    Array.isArray(branch['examples']) ? (branch['examples'] as unknown[]) : [],
  );
  const example = examples[0] ?? choicesOf(here)[0];
  return example === undefined ? undefined : JSON.stringify(example);
}

const ADVICE: Readonly<Record<string, string>> = {
  boolean: 'Write true or false.',
  integer: 'Write a whole number that fits.',
  number: 'Write a number that fits.',
  string: 'Write a text that fits, in double quotes.',
  array: 'Write a list: [ … ].',
  object: 'Write an object: { … }.',
};

function choicesOf(schemas: readonly JsonSchema[]): unknown[] {
  return schemas.flatMap((branch) => [
    ...(Array.isArray(branch['enum']) ? (branch['enum'] as unknown[]) : []),
    ...('const' in branch ? [branch['const']] : []),
  ]);
}

/** The schemas that may apply at `path`: several where there are unions. */
function schemasAt(schema: JsonSchema | undefined, path: Path): JsonSchema[] {
  let here = branches(schema);
  for (const segment of path) {
    here = here.flatMap((branch) => {
      const item = typeof segment === 'number' ? asObject(branch['items']) : undefined;
      const property = asObject(asObject(branch['properties'])?.[String(segment)]);
      return branches(property ?? item ?? asObject(branch['additionalProperties']));
    });
  }
  return here;
}

function branches(schema: JsonSchema | undefined): JsonSchema[] {
  if (!schema) return [];
  const inner = ['anyOf', 'oneOf', 'allOf'].flatMap((word) => (schema[word] ?? []) as JsonSchema[]);
  return [schema, ...inner.flatMap(branches)];
}

function asObject(value: unknown): JsonSchema | undefined {
  return typeof value === 'object' && value !== null ? (value as JsonSchema) : undefined;
}
