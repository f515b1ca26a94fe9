import type { ErrorLocation } from '../api/errors.ts';
import type { PluginDescriptor } from './descriptor.ts';
import { type ImportOptions, importPlugin } from './loader.ts';
import { anyPluginOf } from './shape.ts';

/** A plugin that is one module without a manifest: only its code can say its kind and name. */
export class LocalFile {
  readonly spec: string;
  readonly where: ErrorLocation;
  readonly #file: string;
  readonly #options: ImportOptions;

  constructor(spec: string, file: string, where: ErrorLocation, options: ImportOptions) {
    this.spec = spec;
    this.where = where;
    this.#file = file;
    this.#options = options;
  }

  /** Runs the module's code. */
  async describe(): Promise<PluginDescriptor> {
    const origin = `local plugin ${this.spec}`;
    const module = await importPlugin(this.#file, origin, this.where, this.#options);
    const plugin = anyPluginOf(module, origin, this.where);
    const { kind, name, apiVersion, description } = plugin;
    return { kind, name, apiVersion, description, origin, load: () => Promise.resolve(plugin) };
  }
}
