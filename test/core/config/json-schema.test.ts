import { Ajv } from 'ajv';
import { parse } from 'jsonc-parser';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { buildJsonSchema, type PluginSchema } from '../../../core/config/json-schema.ts';
import { inputJsonSchema } from '../../../core/config/json-shape.ts';
import { secretSchema, sizeSchema } from '../../../core/util/config-types.ts';

const node: z.ZodType = z.lazy(() => z.strictObject({ child: node.optional() }));

const PLUGINS: PluginSchema[] = [
  plugin('backend', 'disc', z.strictObject({ size: sizeSchema(), password: secretSchema().optional() })),
  plugin(
    'backend',
    'either',
    z.union([z.strictObject({ a: z.string() }), z.strictObject({ b: z.string() })]),
  ),
  plugin('backend', 'tree', z.strictObject({ root: node })),
  plugin('filter', 'slow', z.strictObject({ ms: z.number().min(0) })),
  plugin('frontend', 'vduse', z.strictObject({ queues: z.int().default(1) })),
];

function plugin(kind: PluginSchema['kind'], name: string, schema: z.ZodType): PluginSchema {
  return { kind, name, description: `The ${name} ${kind}.`, schema: inputJsonSchema(schema)! };
}

const validate = new Ajv({ allErrors: true, strict: false }).compile(buildJsonSchema(PLUGINS));

/** Where the schema objects, as JSON pointers with the keyword. */
function objections(text: string): string[] {
  validate(parse(text));
  return (validate.errors ?? [])
    .filter(({ keyword }) => keyword !== 'if')
    .map(({ instancePath, keyword, params }) => `${instancePath} ${keyword} ${Object.values(params).join()}`);
}

const disk = (inside: string) => `{ "version": 1, "disks": { "disk0": { ${inside} } } }`;

describe('the JSON Schema of plugins.json', () => {
  it.each([
    ['a minimal disk', disk('"backend": { "type": "disc", "size": "10GiB" }')],
    ['a size in bytes', disk('"backend": { "type": "disc", "size": 4096 }')],
    ['a secret by reference', disk('"backend": { "type": "disc", "size": 1, "password": { "env": "P" } }')],
    ['either branch of a union', disk('"backend": { "type": "either", "b": "x" }')],
    ['a recursive schema', disk('"backend": { "type": "tree", "root": { "child": { "child": {} } } }')],
    ['a type of an unknown plugin, with any keys', disk('"backend": { "type": "ftp", "host": "x" }')],
    [
      'filters and a frontend',
      disk(
        '"backend": { "type": "ftp" }, "filters": [{ "type": "slow", "ms": 1 }], "frontend": { "queues": 2 }',
      ),
    ],
    ['a $schema', '{ "$schema": "./plugins.schema.json", "version": 1, "plugins": ["./x.ts"], "disks": {} }'],
  ])('accepts %s', (_, text) => {
    expect(objections(text)).toEqual([]);
  });

  it.each([
    [
      'a misspelt key',
      disk('"backend": { "type": "disc", "sise": 1, "size": 1 }'),
      '/disks/disk0/backend additionalProperties sise',
    ],
    ['a missing key', disk('"backend": { "type": "disc" }'), '/disks/disk0/backend required size'],
    [
      'a malformed size',
      disk('"backend": { "type": "disc", "size": "10 GiBs" }'),
      '/disks/disk0/backend/size pattern',
    ],
    [
      'a literal secret',
      disk('"backend": { "type": "disc", "size": 1, "password": "x" }'),
      '/disks/disk0/backend/password type',
    ],
    [
      'a wrong value deep in a recursive schema',
      disk('"backend": { "type": "tree", "root": { "child": 5 } }'),
      '/disks/disk0/backend/root/child type',
    ],
    [
      'a wrong filter',
      disk('"backend": { "type": "ftp" }, "filters": [{ "type": "slow", "ms": -1 }]'),
      '/disks/disk0/filters/0/ms minimum',
    ],
    [
      'a wrong frontend that is the default',
      disk('"backend": { "type": "ftp" }, "frontend": { "queue": 2 }'),
      '/disks/disk0/frontend additionalProperties queue',
    ],
    [
      'an unknown key of a disk',
      disk('"backend": { "type": "ftp" }, "readonly": true'),
      '/disks/disk0 additionalProperties readonly',
    ],
    [
      'a bad name',
      '{ "version": 1, "disks": { "Disk": { "backend": { "type": "ftp" } } } }',
      '/disks propertyNames Disk',
    ],
    ['another version', '{ "version": 2, "disks": {} }', '/version const'],
  ])('reports %s', (_, text, objection) => {
    expect(objections(text)).toContainEqual(expect.stringContaining(objection));
  });

  it('offers the names of known plugins with what they are', () => {
    expect(JSON.stringify(buildJsonSchema(PLUGINS))).toContain(
      '{"const":"slow","description":"The slow filter."}',
    );
  });

  it('is valid without any plugin', () => {
    expect(() => new Ajv({ strict: false }).compile(buildJsonSchema([]))).not.toThrow();
  });
});
