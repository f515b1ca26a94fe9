import type { BackendPlugin } from '../api/backend.ts';
import type { GatewayError } from '../api/errors.ts';
import type { FilterPlugin } from '../api/filter.ts';
import type { FrontendPlugin } from '../api/frontend.ts';
import type { DiskConfig, LoadedConfig, PluginUse } from '../config/config.ts';

export type PluginKind = 'backend' | 'filter' | 'frontend';
export interface PluginOfKind {
  readonly backend: BackendPlugin;
  readonly filter: FilterPlugin;
  readonly frontend: FrontendPlugin;
}

/** What is known about a plugin without running its code. */
export interface PluginDescriptor<K extends PluginKind = PluginKind> {
  readonly kind: K;
  readonly name: string;
  /** `built-in`, the package's name, or the path as written in plugins.json. */
  readonly origin: string;
  /** Version of the package it came in. */
  readonly version?: string;
  readonly apiVersion: number;
  readonly description?: string;
  /** Imports the module and checks its shape; repeated calls import once. */
  load(): Promise<PluginOfKind[K]>;
}

/** A plugin with its configuration checked by its own schema. */
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
  /** What is wrong with entries of `plugins`; the others work all the same. */
  readonly problems: readonly GatewayError[] = [];

  /** Reads the manifests of `config.plugins`. Runs no plugin's code. */
  static load(
    _config: Pick<LoadedConfig, 'file' | 'baseDir' | 'plugins' | 'locate'>,
  ): Promise<PluginRegistry> {
    throw new Error('not written yet');
  }

  /** Everything known, built-ins first. */
  list(): readonly PluginDescriptor[] {
    throw new Error('not written yet');
  }

  /** Loads the plugins of a disk and checks its configuration. Throws `ConfigErrors` with every problem of it. */
  prepareDisk(_disk: DiskConfig): Promise<PreparedDisk> {
    throw new Error('not written yet');
  }

  prepareBackend(_use: PluginUse): Promise<Prepared<BackendPlugin>> {
    throw new Error('not written yet');
  }
}
