import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { GatewayError } from '../api/errors.ts';
import type { DiskConfig, LoadedConfig, Locator, PluginSource, PluginUse } from './config.ts';
import { ConfigErrors } from './config-errors.ts';
import { errorsOfIssue } from './issue.ts';
import { inputJsonSchema } from './json-shape.ts';
import { literalSecretError, literalSecrets } from './literal-secret.ts';
import { applyOverrides } from './override.ts';
import { parseDocument } from './parse.ts';
import { type Path, toPointer } from './pointer.ts';
import { CONFIG_VERSION, configSchema, DEFAULT_FRONTEND, diskName, pluginSpec } from './schema.ts';

export interface LoadOptions {
  /** `--set` overrides, each `path=value` with a dotted path: `disks.disk0.readOnly=true`. */
  readonly overrides?: readonly string[];
}

export interface Inspection {
  /** What could be understood; disks that could not are left out. Absent when the file is not a configuration. */
  readonly config?: LoadedConfig;
  /** In the order of the file. */
  readonly problems: readonly GatewayError[];
}

/** Reads plugins.json. Throws `ConfigErrors` with every problem found. */
export async function loadConfig(file: string, options: LoadOptions = {}): Promise<LoadedConfig> {
  const { config, problems } = await inspectConfig(file, options);
  if (problems.length > 0 || !config) throw new ConfigErrors(problems);
  return config;
}

/** Reads plugins.json as far as it can be understood, for those who want to report everything. Never throws. */
export async function inspectConfig(file: string, { overrides = [] }: LoadOptions = {}): Promise<Inspection> {
  const text = await readText(file);
  if (text instanceof GatewayError) return { problems: [text] };
  const document = parseDocument(text, file);
  const problems = [...document.problems];
  const { value } = document;
  if (!isObject(value)) {
    if (problems.length === 0) problems.push(notAnObject(file, document.locator));
    return { problems };
  }
  const locator = applyOverrides(value, overrides, document.locator, problems);
  const version = versionProblem(value['version'], locator);
  // A file of another version is not wrong in the ways that this version's schema would say.
  if (version) return { problems: [...problems, version] };
  problems.push(...(await schemaProblems(value, file, locator)));
  const disks = diskConfigs(value, locator);
  for (const disk of disks.values()) problems.push(...secretProblems(disk));
  const path = resolve(file);
  return {
    problems: inFileOrder(problems),
    config: {
      file: path,
      baseDir: dirname(path),
      version: CONFIG_VERSION,
      plugins: pluginSources(value['plugins']),
      disks,
      locate: (pointer, part) => locator.locate(pointer, part),
    },
  };
}

/** A backend given as JSON on the command line. Throws `ConfigErrors`. */
export function parseBackendArgument(json: string): PluginUse {
  const name = 'the backend argument';
  const { value, locator, problems } = parseDocument(json, name);
  if (problems.length > 0) throw new ConfigErrors(problems);
  const use = isObject(value) ? pluginUse(value, [], locator) : undefined;
  if (!use) {
    const fix = 'Write for example {"type":"memory","size":"64MiB"}.';
    throw new ConfigErrors([
      new GatewayError('config.invalid', 'The backend argument is not a JSON object with a "type".', { fix }),
    ]);
  }
  const secrets = literalSecrets(use.config).map((secret) => literalSecretError(use, name, secret));
  if (secrets.length > 0) throw new ConfigErrors(secrets);
  return use;
}

async function readText(file: string): Promise<string | GatewayError> {
  let bytes: Buffer;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      return new GatewayError('config.not-found', `There is no configuration file ${file}.`, {
        where: { file: resolve(file) },
        fix: 'Create it, or name another with -c FILE.',
        cause,
      });
    }
    return new GatewayError('config.unreadable', `${file} cannot be read.`, {
      where: { file: resolve(file) },
      why: `${message}.`,
      fix: code === 'EISDIR' ? 'Name the file, not its folder.' : 'Let the user who runs blockgate read it.',
      cause,
    });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    const utf16 = bytes[0] === 0xff || bytes[0] === 0xfe;
    return new GatewayError('config.encoding', `${file} is not UTF-8 text.`, {
      where: { file },
      why: utf16 ? 'It begins as UTF-16 does.' : 'It holds bytes that are not UTF-8.',
      fix: 'Save it as UTF-8.',
      cause,
    });
  }
}

function notAnObject(file: string, locator: Locator): GatewayError {
  return new GatewayError('config.invalid', `${file} does not hold a JSON object.`, {
    where: locator.locate(''),
    fix: 'Write { "version": 1, "disks": { … } }.',
  });
}

function versionProblem(version: unknown, locator: Locator): GatewayError | undefined {
  if (version === undefined || version === CONFIG_VERSION) return undefined;
  const where = locator.locate('/version');
  if (typeof version === 'number' && Number.isInteger(version) && version > CONFIG_VERSION) {
    return new GatewayError('config.too-new', `The configuration has version ${version}.`, {
      where,
      why: `This blockgate understands version ${CONFIG_VERSION}; the file was written for a later one.`,
      fix: `Upgrade with "npm install blockgate@latest", or write the file in version ${CONFIG_VERSION}.`,
    });
  }
  return new GatewayError('config.invalid', 'Wrong value for "version".', {
    where,
    why: `It is the version of the file format, a number: ${CONFIG_VERSION}.`,
    fix: `Write "version": ${CONFIG_VERSION}.`,
  });
}

async function schemaProblems(value: unknown, file: string, locator: Locator): Promise<GatewayError[]> {
  const result = await configSchema['~standard'].validate(value);
  const schema = inputJsonSchema(configSchema);
  // Core's own messages never quote a value.
  const redact = (text: string) => text;
  const context = {
    subject: (path: Path) => subjectOf(path, file),
    pointer: '',
    locator,
    value,
    schema,
    redact,
  };
  return (result.issues ?? []).flatMap((issue) => errorsOfIssue(issue, context));
}

function subjectOf(path: Path, file: string): string {
  const [top, name, part] = path;
  if (top === 'disks' && name !== undefined) {
    const disk = `disk ${JSON.stringify(name)}`;
    return part === undefined ? disk : `${JSON.stringify(path.slice(2).join('.'))} of ${disk}`;
  }
  return top === undefined ? file : JSON.stringify(top);
}

function secretProblems(disk: DiskConfig): GatewayError[] {
  return [disk.frontend, ...disk.filters, disk.backend].flatMap((use) =>
    literalSecrets(use.config).map((secret) => literalSecretError(use, `disk "${disk.name}"`, secret)),
  );
}

function pluginSources(plugins: unknown): PluginSource[] {
  const sources = Array.isArray(plugins)
    ? plugins.map((spec, index) => ({ spec, pointer: `/plugins/${index}` }))
    : [];
  return sources.filter((source): source is PluginSource => pluginSpec.safeParse(source.spec).success);
}

/** The disks whose plugins are named. The schema has said what is wrong with the others. */
function diskConfigs(value: Record<string, unknown>, locator: Locator): Map<string, DiskConfig> {
  const disks = new Map<string, DiskConfig>();
  const entries = isObject(value['disks']) ? Object.entries(value['disks']) : [];
  for (const [name, disk] of entries) {
    if (!isObject(disk) || !diskName.safeParse(name).success) continue;
    const at = ['disks', name];
    const backend = pluginUse(disk['backend'], [...at, 'backend'], locator);
    const frontend = pluginUse(withDefaultType(disk['frontend']), [...at, 'frontend'], locator);
    const filters = (Array.isArray(disk['filters']) ? disk['filters'] : []).map((filter, index) =>
      pluginUse(filter, [...at, 'filters', index], locator),
    );
    if (!backend || !frontend || !filters.every((filter) => filter !== undefined)) continue;
    const flags = { readOnly: disk['readOnly'] === true, standby: disk['standby'] === true };
    disks.set(name, { name, backend, frontend, filters, ...flags });
  }
  return disks;
}

function withDefaultType(frontend: unknown): Record<string, unknown> {
  return { type: DEFAULT_FRONTEND, ...(isObject(frontend) ? frontend : {}) };
}

function pluginUse(value: unknown, path: Path, locator: Locator): PluginUse | undefined {
  if (!isObject(value) || !isString(value['type']) || value['type'] === '') return undefined;
  const { type, ...config } = value;
  const locate: Locator['locate'] = (pointer, part) => locator.locate(pointer, part);
  return { type: type as string, config, pointer: toPointer(path), locate };
}

function inFileOrder(problems: readonly GatewayError[]): GatewayError[] {
  const line = ({ where }: GatewayError) => where?.line ?? 0;
  const column = ({ where }: GatewayError) => where?.column ?? 0;
  return problems.toSorted((a, b) => line(a) - line(b) || column(a) - column(b));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isString(value: unknown): value is string {
  return typeof value === 'string';
}
