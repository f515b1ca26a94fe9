import type { ErrorLocation } from '../api/errors.ts';
import { GatewayError } from '../api/errors.ts';
import { API_VERSION } from '../api/version.ts';
import { PLUGIN_KINDS, type PluginKind, type PluginOfKind } from './descriptor.ts';
import { assertApiVersion } from './version.ts';

/** The one function that a plugin of each kind cannot do without. */
const ENTRY_POINT = { backend: 'open', filter: 'wrap', frontend: 'attach' } as const satisfies Record<
  PluginKind,
  string
>;
const OPERATIONS = ['read', 'write', 'flush', 'discard', 'writeZeroes', 'extents', 'prefetch'];

/**
 * The plugin that a module exports by default, once it is sure to be one. `expected` is what its manifest promised;
 * `subject` names it in messages. Throws `plugin.bad-shape`, `plugin.api-too-new` or `plugin.api-too-old`.
 */
export function pluginOf<K extends PluginKind>(
  module: unknown,
  expected: { readonly kind: K; readonly name: string },
  subject: string,
  where?: ErrorLocation,
): PluginOfKind[K] {
  const plugin = anyPluginOf(module, subject, where);
  if (plugin.kind !== expected.kind) {
    throw badShape(subject, `"kind" is ${show(plugin.kind)}, the manifest says "${expected.kind}"`, where);
  }
  if (plugin.name !== expected.name) {
    throw badShape(
      subject,
      `"name" is ${show(plugin.name)}, the manifest says ${show(expected.name)}`,
      where,
    );
  }
  return plugin as PluginOfKind[K];
}

/** As `pluginOf`, for a module that nothing was known about. */
export function anyPluginOf(
  module: unknown,
  subject: string,
  where?: ErrorLocation,
): PluginOfKind[PluginKind] {
  const exported = defaultExport(module);
  if (!isObject(exported)) {
    const got =
      exported === undefined ? 'there is no default export' : `the default export is ${show(exported)}`;
    throw badShape(subject, got, where);
  }
  const kind = PLUGIN_KINDS.find((known) => known === exported['kind']);
  if (kind === undefined) {
    throw badShape(
      subject,
      `"kind" is ${show(exported['kind'])}, not "backend", "filter" or "frontend"`,
      where,
    );
  }
  assertApiVersion(exported['apiVersion'], kind, subject, where);
  const wrong = wrongField(exported, kind);
  if (wrong !== undefined) throw badShape(subject, wrong, where);
  return exported as unknown as PluginOfKind[PluginKind];
}

function wrongField(plugin: Record<string, unknown>, kind: PluginKind): string | undefined {
  if (typeof plugin['name'] !== 'string' || !/^[a-z][a-z0-9-]*$/.test(plugin['name'])) {
    return `"name" is ${show(plugin['name'])}, not a word of lower-case letters, digits and hyphens`;
  }
  if (typeof plugin['description'] !== 'string') return '"description" is not a string';
  const standard = isObject(plugin['config']) ? plugin['config']['~standard'] : undefined;
  if (!isObject(standard) || typeof standard['validate'] !== 'function') {
    return '"config" is not a Standard Schema, such as one made with zod 4';
  }
  const entryPoint = ENTRY_POINT[kind];
  if (typeof plugin[entryPoint] !== 'function') return `"${entryPoint}" is not a function`;
  if (kind !== 'filter') return undefined;
  const stance = isObject(plugin['stance']) ? plugin['stance'] : {};
  const missing = OPERATIONS.filter((op) => !['pass', 'own', 'reject'].includes(String(stance[op])));
  return missing.length > 0 ? `"stance" says nothing about ${missing.join(', ')}` : undefined;
}

/** What a transpiler made of `export default` may sit one level deeper, where `import()` of CommonJS finds it. */
function defaultExport(module: unknown): unknown {
  const first = isObject(module) ? module['default'] : undefined;
  return isObject(first) && first['__esModule'] === true ? first['default'] : first;
}

function badShape(subject: string, why: string, where: ErrorLocation | undefined): GatewayError {
  return new GatewayError('plugin.bad-shape', `The ${subject} is not a plugin that can be used.`, {
    why: `${why.charAt(0).toUpperCase()}${why.slice(1)}.`,
    fix: `Export it by default, made with defineBackend, defineFilter or defineFrontend (API version ${API_VERSION}).`,
    ...(where === undefined ? {} : { where }),
  });
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  return value === undefined || value === null ? 'missing' : `a value of type ${typeof value}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return (typeof value === 'object' || typeof value === 'function') && value !== null;
}
