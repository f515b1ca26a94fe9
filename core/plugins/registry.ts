import type { BackendPlugin } from '../api/backend.ts';
import { type ErrorLocation, GatewayError } from '../api/errors.ts';
import type { FilterPlugin } from '../api/filter.ts';
import type { FrontendPlugin } from '../api/frontend.ts';
import type { DiskConfig, LoadedConfig, PluginUse } from '../config/config.ts';
import { ConfigErrors } from '../config/config-errors.ts';
import type { PluginSchema } from '../config/json-schema.ts';
import { inputJsonSchema } from '../config/json-shape.ts';
import { validateConfig } from '../config/validate.ts';
import { didYouMean } from '../util/did-you-mean.ts';
import { builtinPlugins } from './builtin.ts';
import type { PluginDescriptor, PluginKind, PluginOfKind } from './descriptor.ts';
import { type ImportOptions, importPlugin } from './loader.ts';
import { LocalFile } from './local-file.ts';
import { type Contribution, findPlugin, type Manifest, readConfigSchema } from './manifest.ts';
import { pluginOf } from './shape.ts';

const UNKNOWN = {
  backend: 'config.unknown-backend',
  filter: 'config.unknown-filter',
  frontend: 'config.unknown-frontend',
} as const satisfies Record<PluginKind, string>;

/** A plugin with its configuration checked and completed by its own schema. */
export interface Prepared<P> {
  readonly plugin: P;
  readonly config: unknown;
}

export interface PreparedDisk {
  readonly name: string;
  readonly readOnly: boolean;
  readonly frontend: Prepared<FrontendPlugin>;
  /** The first is nearest the guest. */
  readonly filters: readonly Prepared<FilterPlugin>[];
  readonly backend: Prepared<BackendPlugin>;
}

/** Name → plugin: the built-ins, and what plugins.json lists. */
export class PluginRegistry {
  readonly #plugins = new Map<string, PluginDescriptor>();
  readonly #duplicates = new Map<string, GatewayError>();
  readonly #problems: GatewayError[] = [];
  readonly #options: ImportOptions;
  readonly #localFiles: LocalFile[] = [];
  /** The one run of the bare files' code; whoever needs it waits for the same. */
  #describing: Promise<void> | undefined;

  private constructor(options: ImportOptions) {
    this.#options = options;
    for (const plugin of builtinPlugins()) this.#add(plugin);
  }

  /** The plugins that come with blockgate, and no others. */
  static builtIn(): PluginRegistry {
    return new PluginRegistry({});
  }

  /** Reads the manifests of `config.plugins`. Runs no plugin's code. What is wrong with an entry is in `problems`. */
  static async load(
    config: Pick<LoadedConfig, 'file' | 'plugins' | 'locate'>,
    options: ImportOptions = {},
  ): Promise<PluginRegistry> {
    const registry = new PluginRegistry(options);
    for (const { spec, pointer } of config.plugins) {
      await registry.#keepProblem(() => registry.#addSource(spec, config.file, config.locate(pointer)));
    }
    return registry;
  }

  /** What is wrong with entries of `plugins`; the others work all the same. */
  get problems(): readonly GatewayError[] {
    return this.#problems;
  }

  /** Everything known, built-ins first. */
  list(): readonly PluginDescriptor[] {
    return [...this.#plugins.values()];
  }

  /** Entries of `plugins` that are bare files: their code alone knows what they are, and it has not run. */
  get undescribed(): readonly string[] {
    return this.#describing === undefined ? this.#localFiles.map(({ spec }) => spec) : [];
  }

  /** The descriptor of a plugin, running the code of bare files if that is the only way to find it. */
  async find<K extends PluginKind>(kind: K, name: string): Promise<PluginDescriptor<K> | undefined> {
    if (!this.#plugins.has(key(kind, name))) await this.describeLocalFiles();
    return this.#plugins.get(key(kind, name)) as PluginDescriptor<K> | undefined;
  }

  /** Runs the code of bare files to learn what they are; failures are in `problems`. */
  describeLocalFiles(): Promise<void> {
    this.#describing ??= this.#describe();
    return this.#describing;
  }

  /**
   * The JSON Schemas of every known plugin's configuration, for `buildJsonSchema`: from the manifest where it names
   * one, else by running the plugin's code. A plugin that cannot be loaded is left out and becomes a problem.
   */
  async configSchemas(): Promise<readonly PluginSchema[]> {
    await this.describeLocalFiles();
    const schemas: PluginSchema[] = [];
    for (const { kind, name, schema, description, load } of this.list()) {
      await this.#keepProblem(async () => {
        const plugin = schema ? undefined : await load();
        const found = plugin ? inputJsonSchema(plugin.config) : await schema?.();
        const about = description ?? plugin?.description;
        if (!found) return;
        schemas.push({ kind, name, schema: found, ...(about === undefined ? {} : { description: about }) });
      });
    }
    return schemas;
  }

  /** Loads the plugins of a disk and checks its configuration. Throws `ConfigErrors` with every problem of it. */
  async prepareDisk(disk: DiskConfig): Promise<PreparedDisk> {
    const errors: unknown[] = [];
    const of = `of disk "${disk.name}"`;
    const keep = <P>(prepared: Promise<Prepared<P>>) =>
      prepared.catch((error: unknown) => {
        errors.push(error);
        return undefined;
      });
    const frontend = await keep(this.#prepare('frontend', disk.frontend, of));
    const filters: Prepared<FilterPlugin>[] = [];
    for (const use of disk.filters) {
      const filter = await keep(this.#prepare('filter', use, of));
      if (filter) filters.push(filter);
    }
    const backend = await keep(this.#prepare('backend', disk.backend, of));
    if (!frontend || !backend || errors.length > 0) throw combined(errors);
    return { name: disk.name, readOnly: disk.readOnly, frontend, filters, backend };
  }

  /** Loads a backend on its own and checks its configuration. Throws `ConfigErrors`. */
  async prepareBackend(use: PluginUse): Promise<Prepared<BackendPlugin>> {
    try {
      return await this.#prepare('backend', use);
    } catch (error) {
      throw combined([error]);
    }
  }

  async #describe(): Promise<void> {
    for (const file of this.#localFiles) {
      await this.#keepProblem(async () => this.#add(await file.describe(), file.where));
    }
  }

  async #prepare<K extends PluginKind>(kind: K, use: PluginUse, of = ''): Promise<Prepared<PluginOfKind[K]>> {
    const descriptor = await this.find(kind, use.type);
    const duplicate = this.#duplicates.get(key(kind, use.type));
    // Which of the two was meant cannot be known, and the wrong one could damage a store.
    if (duplicate) throw duplicate;
    if (!descriptor) throw this.#unknown(kind, use, of);
    const plugin = await descriptor.load();
    const config = await validateConfig(plugin.config, use, `${kind} "${use.type}" ${of}`.trimEnd());
    return { plugin, config };
  }

  #unknown(kind: PluginKind, use: PluginUse, of: string): GatewayError {
    const known = this.list()
      .filter((plugin) => plugin.kind === kind)
      .map(({ name }) => name);
    const near = didYouMean(use.type, known);
    const add = `add the package that provides ${JSON.stringify(use.type)} to "plugins"`;
    const problems = this.#problems.map(({ message }) => `\n${message}`).join('');
    return new GatewayError(
      UNKNOWN[kind],
      `${`Unknown ${kind} type ${JSON.stringify(use.type)} ${of}`.trimEnd()}.`,
      {
        where: use.locate(`${use.pointer}/type`),
        why: `No loaded plugin provides it. Known: ${known.join(', ')}.${problems}`,
        fix: near === undefined ? `A${add.slice(1)}.` : `Did you mean ${JSON.stringify(near)}?  Or ${add}.`,
      },
    );
  }

  async #addSource(spec: string, configFile: string, where: ErrorLocation): Promise<void> {
    const found = await findPlugin(spec, configFile, where);
    if ('file' in found) {
      this.#localFiles.push(new LocalFile(spec, found.file, where, this.#options));
      return;
    }
    for (const contribution of found.manifest.contributions) {
      await this.#keepProblem(() =>
        this.#add(this.#fromManifest(found.manifest, contribution, where), where),
      );
    }
  }

  #fromManifest(manifest: Manifest, contribution: Contribution, where: ErrorLocation): PluginDescriptor {
    const { kind, name, description, entry, schema } = contribution;
    const { origin } = manifest;
    const subject = `${kind} "${name}" of ${origin}`;
    let loaded: Promise<PluginOfKind[PluginKind]> | undefined;
    const load = async () =>
      pluginOf(await importPlugin(entry, subject, where, this.#options), { kind, name }, subject, where);
    return {
      kind,
      name,
      origin,
      apiVersion: manifest.apiVersion,
      ...(manifest.version === undefined ? {} : { version: manifest.version }),
      ...(description === undefined ? {} : { description }),
      ...(schema === undefined ? {} : { schema: () => readConfigSchema(schema, subject, where) }),
      load: () => (loaded ??= load()),
    };
  }

  #add(plugin: PluginDescriptor, where?: ErrorLocation): void {
    const { kind, name, origin } = plugin;
    const other = this.#plugins.get(key(kind, name));
    if (!other) {
      this.#plugins.set(key(kind, name), plugin);
      return;
    }
    const duplicate = new GatewayError(
      'plugin.duplicate-name',
      `Two plugins provide the ${kind} "${name}".`,
      {
        why: `One is ${other.origin}, the other ${origin}.`,
        fix: 'Remove one of them from "plugins".',
        ...(where === undefined ? {} : { where }),
      },
    );
    this.#duplicates.set(key(kind, name), duplicate);
    throw duplicate;
  }

  async #keepProblem(step: () => void | Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (!GatewayError.is(error)) throw error;
      this.#problems.push(error);
    }
  }
}

function key(kind: PluginKind, name: string): string {
  return `${kind} ${name}`;
}

/** All of them as one `ConfigErrors`; but a bug stays what it is, lest it read like a mistake of the user. */
function combined(errors: readonly unknown[]): unknown {
  const flat = errors.flatMap((error) => (error instanceof ConfigErrors ? error.errors : [error]));
  const bug = flat.find((error) => !GatewayError.is(error));
  return bug ?? new ConfigErrors(flat as GatewayError[]);
}
