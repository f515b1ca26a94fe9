import type { JsonSchema } from '../../core/config/json-shape.ts';
import { formatSize } from '../../core/util/size.ts';

/** A table of the keys of a JSON Schema, keys of inner objects with dots, as documentation shows it. */
export function keyTable(schema: JsonSchema): string {
  const rows = rowsOf(schema, '');
  if (rows.length === 0) return 'No keys of its own.';
  return ['| Key | Type | Default | Meaning |', '|---|---|---|---|', ...rows].join('\n');
}

function rowsOf(schema: JsonSchema, prefix: string): string[] {
  const required = (schema['required'] ?? []) as string[];
  return Object.entries((schema['properties'] ?? {}) as Record<string, JsonSchema>).flatMap(
    ([key, value]) => {
      const type = typeOf(value);
      const meaning = String(value['description'] ?? '').replaceAll('|', '\\|');
      const row = `| \`${prefix}${key}\` | ${type} | ${defaultOf(value, type, required.includes(key))} | ${meaning} |`;
      return [row, ...(type === 'object' ? rowsOf(value, `${prefix}${key}.`) : [])];
    },
  );
}

function typeOf(schema: JsonSchema): string {
  const branches = (schema['anyOf'] ?? []) as JsonSchema[];
  if (branches.length > 0) {
    const types = branches.map(typeOf);
    if (types.includes('size text')) return 'size';
    if (branches.every(isReference)) return 'secret';
    return [...new Set(types)].join(' or ');
  }
  if (schema['enum'])
    return (schema['enum'] as unknown[]).map((value) => `\`${JSON.stringify(value)}\``).join(', ');
  if ('const' in schema) return `\`${JSON.stringify(schema['const'])}\``;
  if (schema['type'] === 'array') return `list of ${typeOf((schema['items'] ?? {}) as JsonSchema)}`;
  if (schema['type'] === 'string' && String(schema['pattern']).includes('[KMGTP]iB')) return 'size text';
  return String(schema['type'] ?? 'any');
}

function isReference({ properties }: JsonSchema): boolean {
  return (
    typeof properties === 'object' && properties !== null && ('env' in properties || 'file' in properties)
  );
}

function defaultOf(schema: JsonSchema, type: string, required: boolean): string {
  const value = schema['default'];
  if (value === undefined) return required ? 'required' : '';
  if (type === 'size' && typeof value === 'number') return `\`"${formatSize(value).replace(' ', '')}"\``;
  return `\`${JSON.stringify(value)}\``;
}
