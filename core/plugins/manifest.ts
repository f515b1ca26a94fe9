import { readFile, stat } from 'node:fs/promises';
import { findPackageJSON } from 'node:module';
import { dirname, join, parse, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { type ErrorLocation, GatewayError } from '../api/errors.ts';
import type { JsonSchema } from '../config/json-shape.ts';
import type { PluginKind } from './descriptor.ts';
import { assertApiVersion } from './version.ts';

/** One plugin that a package offers, as its manifest says. */
export interface Contribution {
  readonly kind: PluginKind;
  readonly name: string;
  readonly description?: string;
  /** Absolute path of the module. */
  readonly entry: string;
  /** Absolute path of the JSON Schema of its configuration. */
  readonly schema?: string;
}

/** The `blockgate` field of a package.json. */
export interface Manifest {
  /** For people: `package "@acme/x"`, `local package ./x`. */
  readonly origin: string;
  readonly version?: string;
  readonly apiVersion: number;
  readonly contributions: readonly Contribution[];
}

/** Where the code of an entry of `plugins` is: a package with a manifest, or a bare file without one. */
export type FoundPlugin = { readonly manifest: Manifest } | { readonly file: string };

const relativePath = z
  .string()
  .regex(/^\.\/(?!.*\.\.(?:\/|$))/, { error: 'not a path inside the package that starts with "./"' });
const contribution = z.object({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]*$/, { error: 'not a word of lower-case letters, digits and hyphens' }),
  description: z.string().optional(),
  entry: relativePath,
  schema: relativePath.optional(),
});
const contributions = z.array(contribution).default([]);
/** Unknown fields pass: a later API may add some that this one can do without. */
const manifestSchema = z.object({
  contributes: z.object({ backends: contributions, filters: contributions, frontends: contributions }),
});

/**
 * Finds an entry of `plugins` and reads its manifest. Runs no code of the plugin. Throws `plugin.not-found`,
 * `plugin.no-manifest`, `plugin.bad-manifest`, `plugin.api-too-new` or `plugin.api-too-old`.
 */
export async function findPlugin(
  spec: string,
  configFile: string,
  where: ErrorLocation,
): Promise<FoundPlugin> {
  if (!isPath(spec)) {
    return { manifest: await readManifest(packageFile(spec, configFile, where), spec, where) };
  }
  const path = resolve(dirname(configFile), spec);
  const stats = await stat(path).catch(() => undefined);
  if (!stats) {
    throw notFound(spec, [path], 'Correct the path; it is relative to the configuration file.', where);
  }
  if (!stats.isDirectory()) return { file: path };
  const manifestFile = join(path, 'package.json');
  if (!(await stat(manifestFile).catch(() => undefined))) {
    throw new GatewayError('plugin.no-manifest', `The folder ${spec} is not a plugin.`, {
      where,
      why: 'It holds no package.json.',
      fix: 'Name the module itself, such as "./my-plugin.ts", or add a package.json with a "blockgate" field.',
    });
  }
  return { manifest: await readManifest(manifestFile, spec, where) };
}

function isPath(spec: string): boolean {
  return /^\.{0,2}\//.test(spec);
}

function packageFile(name: string, configFile: string, where: ErrorLocation): string {
  let file: string | undefined;
  try {
    file = findPackageJSON(name, pathToFileURL(configFile));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') {
      throw new GatewayError('plugin.not-found', `Node cannot look for the plugin ${JSON.stringify(name)}.`, {
        where,
        why: (cause as Error).message,
        fix: 'Correct the package.json that the message names.',
        cause,
      });
    }
  }
  if (file !== undefined) return file;
  const folder = dirname(configFile);
  throw notFound(name, modulesFolders(folder), `npm install --prefix ${folder} ${name}`, where);
}

/** The folders Node looks for packages in, from the nearest to the root. */
function modulesFolders(folder: string): string[] {
  const here = join(folder, 'node_modules');
  return folder === parse(folder).root ? [here] : [here, ...modulesFolders(dirname(folder))];
}

function notFound(
  spec: string,
  lookedIn: readonly string[],
  fix: string,
  where: ErrorLocation,
): GatewayError {
  return new GatewayError('plugin.not-found', `The plugin ${JSON.stringify(spec)} is not there.`, {
    where,
    why: `Looked for it in:\n${lookedIn.join('\n')}`,
    fix,
  });
}

async function readManifest(file: string, spec: string, where: ErrorLocation): Promise<Manifest> {
  const subject = `package ${JSON.stringify(spec)}`;
  const content = await readJson(file, `The package.json of ${subject}`, where);
  const field = content['blockgate'];
  if (field === undefined) {
    throw new GatewayError('plugin.no-manifest', `The ${subject} is not a blockgate plugin.`, {
      where,
      why: `Its package.json has no "blockgate" field: ${file}`,
      fix: 'Check the name of the package; if it is your own, add the field as the plugin guide says.',
    });
  }
  const fields = typeof field === 'object' && field !== null ? (field as Record<string, unknown>) : {};
  // The version comes first: a manifest of another API may well look different.
  const strictest: PluginKind =
    isObject(fields['contributes']) && fields['contributes']['filters'] ? 'filter' : 'backend';
  assertApiVersion(fields['apiVersion'], strictest, subject, where);
  const parsed = manifestSchema.safeParse(field);
  if (!parsed.success) throw badManifest(subject, file, parsed.error, where);
  const { backends, filters, frontends } = parsed.data.contributes;
  const kinds = { backend: backends, filter: filters, frontend: frontends };
  const version = content['version'];
  return {
    origin: isPath(spec) ? `local package ${spec}` : subject,
    ...(typeof version === 'string' ? { version } : {}),
    apiVersion: fields['apiVersion'],
    contributions: Object.entries(kinds).flatMap(([kind, list]) =>
      list.map(({ name, description, entry, schema }) => ({
        kind: kind as PluginKind,
        name,
        ...(description === undefined ? {} : { description }),
        entry: resolve(dirname(file), entry),
        ...(schema === undefined ? {} : { schema: resolve(dirname(file), schema) }),
      })),
    ),
  };
}

/** The JSON Schema that a manifest names. Throws `plugin.bad-manifest`. */
export function readConfigSchema(file: string, subject: string, where: ErrorLocation): Promise<JsonSchema> {
  return readJson(file, `The configuration schema of ${subject}`, where);
}

async function readJson(file: string, what: string, where: ErrorLocation): Promise<Record<string, unknown>> {
  try {
    const content: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (isObject(content)) return content;
    throw new TypeError('it is not a JSON object');
  } catch (cause) {
    throw new GatewayError('plugin.bad-manifest', `${what} cannot be read.`, {
      where,
      why: `${file}: ${(cause as Error).message}`,
      fix: 'Install the package again.',
      cause,
    });
  }
}

function badManifest(subject: string, file: string, error: z.ZodError, where: ErrorLocation): GatewayError {
  const found = error.issues.map(({ path, message }) => `"blockgate.${path.join('.')}": ${message}`);
  return new GatewayError('plugin.bad-manifest', `The manifest of ${subject} is not valid.`, {
    where,
    why: `In ${file}:\n${found.join('\n')}`,
    fix: 'Correct it as the plugin guide says, or install another release of the plugin.',
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
