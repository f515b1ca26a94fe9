import type { ErrorLocation } from '../api/errors.ts';

/** The shapes of a loaded plugins.json: read, checked against the core schema, not yet against its plugins'. */

/** Where a pointer lies in the text a person wrote. `part: 'key'` points at the key rather than at its value. */
export interface Locator {
  locate(pointer: string, part?: 'key' | 'value'): ErrorLocation;
}

/** One use of a plugin: the `backend`, the `frontend`, or one of the `filters` of a disk. */
export interface PluginUse extends Locator {
  /** Name of the backend, filter or frontend. */
  readonly type: string;
  /** What stands beside `type`, as written: the plugin's own schema has not seen it yet. */
  readonly config: Readonly<Record<string, unknown>>;
  /** JSON pointer (RFC 6901) of the object. */
  readonly pointer: string;
}

export interface DiskConfig {
  /** `^[a-z0-9][a-z0-9-]{0,30}$` */
  readonly name: string;
  readonly frontend: PluginUse;
  /** The first is nearest the guest. */
  readonly filters: readonly PluginUse[];
  readonly backend: PluginUse;
  readonly readOnly: boolean;
  /** A second process waits for the death of the one that serves the disk. */
  readonly standby: boolean;
}

/** An entry of `plugins`: an npm package name, or a path that starts with `./`, `../` or `/`. */
export interface PluginSource {
  readonly spec: string;
  readonly pointer: string;
}

export interface LoadedConfig extends Locator {
  /** Absolute path of the file. */
  readonly file: string;
  /** Its folder: relative paths in the configuration start here. */
  readonly baseDir: string;
  readonly version: number;
  readonly plugins: readonly PluginSource[];
  /** In the order of the file. */
  readonly disks: ReadonlyMap<string, DiskConfig>;
}
